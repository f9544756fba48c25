"""Every view of the page without a browser: what is shown for what is given and pressed."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

from cerviclip.app.append_file import DiskFullError
from cerviclip.app.audit_log import AuditLog, verify
from cerviclip.app.review.journal import Journal, queue_folder
from cerviclip.app.web.basis import calibrations, coinciding, rests_on
from cerviclip.app.web.guide import rules_for
from cerviclip.app.web.models import Model, title_of
from cerviclip.app.web.settings import WebSettings
from cerviclip.app.web.texts import LANGUAGES, Texts, likeness, possible_classes
from helpers import write_images

AppTest = pytest.importorskip("streamlit.testing.v1").AppTest
SCRIPT = """
from cerviclip.app.web.frame import Page, show_view
from cerviclip.app.web.settings import WebSettings
from cerviclip.app.web.texts import Texts
settings = WebSettings.from_json({settings!r})
run = settings.runs[0] if settings.runs else ""
show_view(Page(settings, Texts({language!r}), run), {name!r})
"""


@pytest.fixture(scope="module")
def settings(probe, cells, tmp_path_factory):
    home = tmp_path_factory.mktemp("page")
    return WebSettings(
        runs=(str(probe),),
        results=(str(probe.parent),),
        images=(str(cells),),
        reviews=str(home / "reviews"),
        device="cpu",
    )


@pytest.fixture
def view(settings):
    """``view("predict")``: the page after its first run."""

    def make(name: str, language: str = "en", **other):
        text = replace(settings, **other).to_json()
        page = AppTest.from_string(
            SCRIPT.format(settings=text, language=language, name=name), default_timeout=60
        )
        return page.run()

    return make


def said(page) -> str:
    """All words of a page."""
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "success")
    return "\n".join(str(one.value) for kind in kinds for one in page.get(kind))


def files(*paths):
    return [(path.name, path.read_bytes(), "image/png") for path in paths]


def test_every_view_says_what_it_is_for(view):
    for name in ("predict", "batch", "results", "guide", "review"):
        page = view(name)
        assert not page.exception and "Research use only" in said(page), name
    assert "仅供研究" in said(view("guide", "zh")) or "研究" in said(view("guide", "zh"))


def with_pictures(page, *paths):
    page.file_uploader[0].set_value(files(*paths))
    return page.run()


def test_a_picture_gets_all_that_is_known(view, predictor, cells):
    path = sorted(cells.rglob("*.png"))[0]
    page = view("predict")
    page.file_uploader[0].set_value(files(path))
    page.run()
    answer = predictor.predict(path)
    text = said(page)
    assert not page.exception
    assert f"{answer.predicted}: {100 * answer.probability:.1f} %" in text
    assert f"(isotonic calibration: {100 * answer.calibrated_positive:.1f} %)" in text
    assert "Operating points" in text and "Nearest labelled pictures" in text
    points, near = (table.value for table in page.table)
    called = {one.threshold: one.called_positive for one in answer.operating_points.values()}
    assert len(points) == len(called)
    assert list(points["This picture"]) == [
        "positive" if c else "negative" for c in called.values()
    ]
    assert [float(v) for v in near["Distance"]] == pytest.approx(
        [one.distance for one in answer.neighbours], abs=6e-4
    )
    assert "95 % of them" in text
    for language in LANGUAGES:  # in the words of the PDF
        text, t = said(one := with_pictures(view("predict", language), path)), Texts(language)
        told = possible_classes(t, answer, lambda name: name)
        assert not one.exception and told in text and " %" in told.split(answer.classnames[-1])[-1]
        assert likeness(t, answer)[0] in text
        assert calibrations(t, answer, "val") in text
        few = rests_on(t, predictor.knowledge.home)
        assert few and few in [box.value for box in one.warning]


def test_points_of_one_threshold_are_shown_once(view, probe, cells, tmp_path):
    run = shutil.copytree(probe, tmp_path / "run")
    results = json.loads((run / "results.json").read_text())
    points = results["operating_points"]["points"]
    points["youden"]["threshold"] = points["specificity_95"]["threshold"] = 0.875
    points["sensitivity_95"]["threshold"] = 0.125
    (run / "results.json").write_text(json.dumps(results))
    page = with_pictures(view("predict", runs=(str(run),)), sorted(cells.rglob("*.png"))[0])
    assert not page.exception
    table = page.table[0].value
    assert sorted(table["Threshold"]) == ["12.5 %", "87.5 %"]
    assert any("(few false alarms) and best sum" in name for name in table["Operating point"])
    assert "one decision and not 2" in said(page)


def test_an_answer_stands_in_the_audit_log_and_in_its_pdf(view, predictor, cells, tmp_path):
    path, log = sorted(cells.rglob("*.png"))[0], tmp_path / "audit.jsonl"
    page = view("predict", audit_log=str(log))
    page.file_uploader[0].set_value(files(path))
    page.run()
    (line,) = log.read_text().splitlines()
    entry = json.loads(line)
    assert entry["input"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["model"] == predictor.model_id and path.name not in line
    name = f"{entry['n']}-{entry['hash'][:12]}"
    assert f"Entry of the audit log: {name}" in said(page)
    page.run()  # a press does not ask anew
    assert len(log.read_text().splitlines()) == 1 and not verify(log)[1]
    if importlib.util.find_spec("fpdf") and importlib.util.find_spec("pypdf"):
        import pypdf

        next(one for one in page.button if one.label == "Make a PDF").click()
        page.run()
        content = io.BytesIO(page.session_state["pdf"][1])
        assert name in "".join(p.extract_text() for p in pypdf.PdfReader(content).pages)


def test_a_broken_file_is_named_and_nothing_breaks(view, cells):
    good = sorted(cells.rglob("*.png"))[0]
    broken = ("broken.png", b"no picture", "image/png")
    page = view("predict")
    page.file_uploader[0].set_value([broken])
    page.run()
    assert not page.exception and "broken.png cannot be read" in said(page)
    page = view("batch")
    page.file_uploader[0].set_value([*files(good), broken])
    page.run()
    assert not page.exception and "2 pictures, 1 of them unreadable" in said(page)
    table = page.dataframe[0].value
    assert list(table["path"]) == [good.name, "broken.png"] and table["error"].iloc[1]


def test_the_page_says_which_page_of_a_file_it_read(view, reading, cells, tmp_path):
    pictures = [Image.open(path).convert("RGB") for path in sorted(cells.rglob("*.png"))[:2]]
    path = tmp_path / "new" / "two.tif"
    path.parent.mkdir()
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    for name in ("predict", "batch"):
        page = view(name)
        page.file_uploader[0].set_value([(path.name, path.read_bytes(), "image/tiff")])
        page.run()
        assert not page.exception
        if name == "predict":
            assert "Read of the file: page 1 of 2." in said(page)
        else:
            assert list(page.dataframe[0].value["note"]) == ["page 1 of 2"]
    assert "page 1 of 2" in said(reading("Hal", images=(str(path.parent),)))


def test_a_table_says_what_its_calls_rest_on(view, predictor, cells):
    for language in LANGUAGES:
        t, home = Texts(language), predictor.knowledge.home
        page = with_pictures(view("batch", language), *sorted(cells.rglob("*.png"))[:2])
        assert not page.exception and rests_on(t, home) in said(page)
        assert all(told in said(page) for told in coinciding(t, home.thresholds, "val"))


def test_a_table_is_filtered_and_sorted(view, predictor, cells):
    paths = sorted(cells.rglob("*.png"))[::8]
    page = view("batch")
    page.file_uploader[0].set_value(files(*paths))
    page.run()
    table = page.dataframe[0].value
    assert table["uncertainty"].is_monotonic_decreasing and len(table) == len(paths)
    unlike = (table["out_of_distribution"] == "true").groupby(table["patient_id"]).sum()
    told = page.table[0].value
    for patient, shown in zip(told.iloc[:, 0], told["unlike the training images"], strict=True):
        assert shown == f"{unlike[patient]} / {sum(table['patient_id'] == patient)}"
    one = table["prediction"].iloc[0]
    page.multiselect[0].select(one)
    page.run()
    assert set(page.dataframe[0].value["prediction"]) == {one}
    page.text_input[0].set_value("no such name")
    page.run()
    assert not len(page.dataframe[0].value) and not page.exception


def test_results_are_those_of_the_run(view, probe):
    results = json.loads((probe / "results.json").read_text())
    page = view("results")
    accuracy = f"{results['centers']['test']['accuracy']['value']:.1f}"
    assert any(accuracy in table.value.to_csv() for table in page.table)
    assert not page.exception and len(page.get("plotly_chart")) == 2
    assert "No folder of runs" in said(view("results", results=()))


def test_results_keep_transductive_methods_apart(view, probe, tmp_path):
    """Each kind has its table and its curves, also where both have the same centres and shots."""
    results = json.loads((probe / "results.json").read_text())
    for trainer, seen in (("LinearProbe", False), ("TransCLIP", True)):
        for shots in (1, 2):
            folder = tmp_path / trainer / str(shots)
            folder.mkdir(parents=True)
            other = {"trainer": trainer, "shots": shots, "transductive": seen}
            (folder / "results.json").write_text(json.dumps(results | other))
    page = view("results", results=(str(tmp_path),))
    assert not page.exception
    curves = [json.loads(c.proto.spec) for c in page.get("plotly_chart")]
    named = [{line.get("name") for line in c["data"]} for c in curves]
    centers = len(results["centers"])
    assert named.count({"LinearProbe"}) >= centers and named.count({"TransCLIP"}) >= centers
    assert not any({"LinearProbe", "TransCLIP"} <= names for names in named)


def test_the_guide_follows_the_age(view):
    page = view("guide")
    for age in (16, 45, 80):
        page.slider[0].set_value(age)
        page.run()
        text = said(page)
        assert all(rule.text in text and rule.title in text for rule in rules_for(age, "en"))
    for language in LANGUAGES:
        china = rules_for(30, language)[2]
        assert china.caution and china.caution in said(view("guide", language))


def test_a_review_by_its_buttons(view, settings, cells):
    page = view("review")
    page.text_input[0].set_value("Bo")
    page.selectbox[1].set_value("random")
    next(one for one in page.button if one.label == "Start").click()
    page.run()
    assert not page.exception and "Bo" in page.query_params["reader"]

    def press(word: str) -> None:
        next(one for one in page.button if one.label.startswith(word)).click()
        page.run()

    def journal() -> list[dict]:
        (path,) = Path(settings.reviews).rglob("Bo.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]

    press("red")
    press("Accept")
    press("Put aside")
    assert [one["action"] for one in journal()] == ["label", "accept", "flag"]
    press("Undo")
    assert journal()[-1]["action"] == "undo" and "Decisions" in said(page)
    assert any("2 pictures" in one.label for one in page.download_button)
    again = view("review")
    again.query_params["reader"] = "Bo"
    again.query_params["order"] = "random"
    again.run()
    assert any("2 pictures" in one.label for one in again.download_button)  # after a reload


@pytest.fixture
def reading(view):
    """``reading("Ann", blind="1")``: the page of a reader who has begun a review."""

    def make(reader: str, order: str = "random", blind: str = "0", **settings):
        page = view("review", **settings)
        for key, value in {"reader": reader, "order": order, "blind": blind}.items():
            page.query_params[key] = value
        page.run()
        assert not page.exception
        return page

    return make


@pytest.fixture
def label_all(reading):
    """``label_all(images)``: the printed command after each picture got the class of its folder."""

    def make(images: Path, **settings) -> list[str]:
        classes = ("red", "green")
        queue = queue_folder(Path(settings["reviews"]), images, classes)
        for path in sorted(images.rglob("*.png")):
            name = path.relative_to(images).as_posix()
            Journal(queue, "Ann B").decide("label", name, label=name.partition("/")[0])
        page = reading("Ann B", images=(str(images),), classes=classes, **settings)
        (code,) = (one.value for one in page.code)
        return shlex.split(code)

    return make


@pytest.mark.parametrize("with_run", [pytest.param(True, marks=pytest.mark.slow), False])
def test_the_printed_training_runs(label_all, tmp_path, with_run, clip_weights):
    images = tmp_path / "new pictures"
    write_images(images, dict.fromkeys(("red", "green"), 12), patients=6)
    settings = {} if with_run else {"runs": ()}
    words = label_all(images, reviews=str(tmp_path / "reviews"), **settings)
    backbone = words[words.index("--backbone") + 1]
    assert backbone == ("CLIP" if with_run else "PhantomCLIP")
    assert (str(clip_weights) in words) is with_run
    assert words.pop(0) == "cerviclip"
    command = [sys.executable, "-m", "cerviclip.cli", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (results,) = (tmp_path / "output").rglob("results.json")
    assert json.loads(results.read_text())["status"] == "done"


def press(page, word: str) -> None:
    next(one for one in page.button if one.label.startswith(word)).click()
    page.run()
    assert not page.exception


def buttons(page) -> set[str]:
    return {one.label for one in page.button}


def test_a_review_shows_no_answer_that_is_not_in_the_audit_log(reading, cells, tmp_path):
    log = tmp_path / "audit.jsonl"

    def entries(kind: str) -> list[dict]:
        every = [json.loads(line) for line in log.read_text().splitlines()]
        return [one for one in every if one["kind"] == kind]

    page = reading("Cy", audit_log=str(log))
    (first,) = entries("answer")
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in cells.rglob("*.png")}
    name = f"{first['n']}-{first['hash'][:12]}"
    assert "The model says" in said(page) and name in said(page) and first["input"] in hashes
    page.run()
    assert len(entries("answer")) == 1 and not entries("correction")
    press(page, "red")
    (correction,) = entries("correction")
    assert (correction["of"], correction["output"]) == (name, {"predicted": "red"})
    assert (correction["who"], correction["route"]) == ("Cy", "review")
    second = entries("answer")[1]
    press(page, "Accept")
    accepted = entries("correction")[1]
    assert accepted["of"].startswith(f"{second['n']}-")
    assert accepted["output"] == {"predicted": second["output"]["predicted"]}
    press(page, "Undo")
    taken_back = entries("correction")[2]
    assert (taken_back["of"], taken_back["output"]) == (accepted["of"], {"predicted": ""})
    reading("Dee", order="uncertain", blind="1", audit_log=str(log))
    assert len(entries("answer")) == len(hashes)  # their order tells of them
    assert not verify(log)[1]


def test_a_review_says_nothing_that_a_full_disk_does_not_take(
    reading, settings, tmp_path, monkeypatch
):
    def full(*_):
        raise DiskFullError(28, "full")

    log = str(tmp_path / "audit.jsonl")
    with monkeypatch.context() as disk:
        disk.setattr(AuditLog, "append", full)
        page = reading("Eve", audit_log=log)
        assert "no answer is shown" in said(page) and "The model says" not in said(page)
    page = reading("Eve", audit_log=log)
    assert "The model says" in said(page)
    monkeypatch.setattr(AuditLog, "append", full)
    press(page, "red")
    assert "the decision was not taken" in said(page) and "The model says" in said(page)
    assert not list(Path(settings.reviews).rglob("Eve.jsonl"))


@pytest.mark.parametrize("other", [{}, {"runs": (), "classes": ("red", "blue")}])
def test_a_reader_sees_deep_pictures_without_the_model(reading, tmp_path, other):
    folder = tmp_path / "deep"
    folder.mkdir()
    values = np.linspace(0, 65535, 96 * 96).reshape(96, 96).astype(np.uint16)
    Image.fromarray(values).save(folder / "deep.png")
    page = reading("Fay", blind="1", images=(str(folder),), **other)
    assert "cannot be read" not in said(page) and {"red", "blue"} <= buttons(page)
    (folder / "deep.png").write_bytes(b"no picture")
    page.run()
    assert "deep.png cannot be read" in said(page)
    assert buttons(page) == {"Put aside", "Undo", "Other reader or folder"}


def test_an_overwritten_picture_gets_its_own_suggestion(reading, predictor, cells, tmp_path):
    path = tmp_path / "new" / "one.png"
    path.parent.mkdir()

    def suggestion() -> str:
        answer = predictor.predict(path)
        return f"**{answer.predicted}** ({100 * answer.probability:.1f} %"

    found = []
    for name in ("red", "blue"):
        shutil.copy(sorted(cells.glob(f"{name}/*.png"))[0], path)
        os.utime(path, ns=(0, len(found)))
        found.append(suggestion())
        assert found[-1] in said(reading("Gil", images=(str(path.parent),)))
    assert found[0] != found[1]


def test_a_heat_map_has_the_model_for_itself(monkeypatch):
    from cerviclip.app.web.views import predict
    from cerviclip.app.web.views._files import Given

    model = Model(Path("run"), None, {}, False)
    alone = []

    def explain(*_):
        alone.append(model._lock.locked())
        return "map"

    monkeypatch.setattr(predict.st, "session_state", {})
    given = Given("one.png", b"", "key")
    for _ in range(2):  # the second is kept
        heat = predict._heat(explain, model, "run", given, Image.new("RGB", (8, 8)), "red", "m")
        assert heat == "map" and alone == [True] and not model._lock.locked()


def test_a_review_needs_pictures_and_classes(view):
    assert "No pictures to review" in said(view("review", images=()))
    assert "needs classes" in said(view("review", runs=()))
    assert "No run was named" in said(view("predict", runs=()))


def test_a_csv_of_the_page_is_read_back(predictor, cells):
    from cerviclip.app.web.answers import answer_table, predict_bytes

    paths = sorted(cells.rglob("*.png"))[:4]
    table = answer_table(
        predict_bytes(predictor, [(p.name, p.read_bytes()) for p in paths]), predictor, "m"
    )
    again = pandas.read_csv(io.StringIO(table.to_csv(index=False, lineterminator="\n")))
    for name in ("p_red", "calibrated_p_red", "ood_score", "uncertainty"):
        assert list(again[name]) == list(table[name])


def test_the_page_calls_the_study_by_its_title(view, probe, tmp_path):
    """Two data sets with one title are no clash of charts."""
    results = json.loads((probe / "results.json").read_text())
    results["runtime"]["title"] = "Cervix OCT, Hospital A"
    for dataset in (results["dataset"], "Other"):
        for shots in (1, 2):
            folder = tmp_path / dataset / str(shots)
            folder.mkdir(parents=True)
            other = {"dataset": dataset, "shots": shots}
            (folder / "results.json").write_text(json.dumps(results | other))
    page = view("results", results=(str(tmp_path),))
    assert not page.exception
    assert [s.value for s in page.subheader][:2] == ["Cervix OCT, Hospital A: accuracy (%)"] * 2
    assert all(o.startswith("Cervix OCT, Hospital A, ") for o in page.selectbox[-1].options)
    assert title_of(str(folder)).startswith("Cervix OCT, Hospital A, LinearProbe, ")
    assert title_of(str(folder.parent / "1")).endswith(", 1 shot, seed 1")
