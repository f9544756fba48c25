"""The report: one content in three formats, whose numbers are those of the runs, and a checklist
that finds every item."""

import copy
import csv
import dataclasses
import json
import re
import shutil

import pytest
from run_fixtures import Zoo

from cerviclip import plugins
from cerviclip.report import study
from cerviclip.report.cards import card, facts
from cerviclip.report.checklist import ABSENT, AUTHORS, FILLED, GUIDELINES, items_of
from cerviclip.report.command import WRITERS, load_writer, main
from cerviclip.report.content import build_document
from cerviclip.report.document import BLANK, Document, Table, blank, pieces
from cerviclip.report.measured import prevalence_rows
from cerviclip.report.methods import _without_patients
from cerviclip.report.numbers import RULE, SHORT, cell, size_of
from cerviclip.report.results import _metric_table, patient_note
from cerviclip.report.setup import (
    draw_sentence,
    hidden_sentence,
    preparation,
    split_sentence,
    thresholds_sentence,
    training_rows,
    use_of_test_sentence,
)
from cerviclip.report.study import BY_NAME, BY_VAL, Study
from cerviclip.runs.report.groups import Group
from cerviclip.runs.run.finished import retitle
from cerviclip.runs.run.runner import run_one
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run of the zoo; the registries are left as they were, for the tests that come after."""
    plugins.reset_plugins()
    zoo = Zoo(tmp_path_factory.mktemp("report"))
    before = {
        registry: dict(registry._obj_map) for registry in (TRAINER_REGISTRY, DATASET_REGISTRY)
    }
    run_one(zoo.cfg("ZooLinear", "2", "--output-dir", str(zoo.out / "ZooLinear")), echo=False)
    for registry, names in before.items():
        for name in [name for name in registry._obj_map if name.startswith("Zoo")]:
            if name not in names:
                del registry._obj_map[name]
    yield zoo.out
    plugins.reset_plugins()


@pytest.fixture(scope="module")
def document(runs, tmp_path_factory):
    return build_document(Study.read(runs), tmp_path_factory.mktemp("figures"))


def tables(document):
    return {block.caption: block for block in document.blocks if isinstance(block, Table)}


def test_numbers_are_those_of_results_json(runs, document):
    results = json.loads((runs / "ZooLinear" / "results.json").read_text())
    table = next(t for caption, t in tables(document).items() if caption == "Performance by image.")
    assert table.head == ("", "test", "ZooFar")
    row = next(row for row in table.rows if row[0] == "Accuracy (%)")
    assert row[1:] == tuple(cell(results["centers"][c]["accuracy"]) for c in table.head[1:])
    flow = next(t for caption, t in tables(document).items() if "source, part and class" in caption)
    used = results["flow"]["sources"]["ZooMain"]["used"]["train"]
    assert flow.rows[0][2] == f"{used['images']} ({used['patients']})" and used["images"] == 6


def test_every_item_of_the_guidelines_has_a_place(document):
    items = list(items_of(document))
    assert [len(rows) for rows in GUIDELINES.values()] == [48, 52, 44]
    assert not [item for item in items if item.state == ABSENT]
    state = {(item.guideline[:5], item.number): item for item in items}
    assert state["STARD", "24"].state == FILLED and "figure 1" in state["STARD", "24"].places
    assert state["STARD", "6"].state == AUTHORS
    assert state["CLAIM", "44"].state == AUTHORS


def test_an_item_that_nothing_answers_is_told():
    empty = Document("t", "s")
    empty.heading("Methods", "ethics")
    assert all(item.state == ABSENT for item in items_of(empty))
    empty.text(f"Ethics: {blank('which committee')}", "ethics")
    assert {i.number for i in items_of(empty) if i.state == AUTHORS} == {"6", "17"}


@pytest.mark.slow
def test_three_formats_say_the_same(runs, tmp_path, document, capsys):
    docx = pytest.importorskip("docx")
    pytest.importorskip("fpdf")
    for form in WRITERS:
        assert main([str(runs), "--format", form, "--out", str(tmp_path / f"draft.{form}")]) == 0
    text = (tmp_path / "draft.md").read_text()
    word = docx.Document(str(tmp_path / "draft.docx"))
    wanted = tables(document)
    assert text.count("**Table ") == len(wanted) == len(word.tables)
    for block, table in zip(wanted.values(), word.tables, strict=True):
        cells = [tuple(c.text for c in row.cells) for row in table.rows]
        assert cells == [*([block.head] if any(block.head) else []), *block.rows]
    heads = [p.text for p in word.paragraphs if p.style.name.startswith("Heading")]
    assert heads == [f"{b.number} {b.text}" for b in document.blocks if hasattr(b, "level")]
    assert len(BLANK.findall(text)) == len(document.blanks()) > 30
    for figure in (tmp_path / "draft_figures").glob("*.png"):
        assert f"(<draft_figures/{figure.name}>)" in text
    assert len(word.inline_shapes) == len(list((tmp_path / "draft_figures").glob("*.png"))) == 5
    assert (tmp_path / "draft.pdf").read_bytes()[:5] == b"%PDF-"
    assert "draft_checklist.md" in capsys.readouterr().out


def test_a_method_that_val_has_tuned_is_said_to_be_flattered_by_val(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    [path] = (tmp_path / "runs").rglob("results.json")

    def text(tries, *featured):
        results = json.loads(path.read_text()) | {"search": {"tries": tries, "labels": 4}}
        path.write_text(json.dumps(results, indent=1))
        built = build_document(Study.read(tmp_path / "runs", *featured), tmp_path / str(tries))
        return " ".join(block.words for block in built.blocks)

    assert "the best of 4,000 tries on each run, so its accuracy on val is too good" in text(4000)
    assert "too good" not in text(4001, "ZooLinear") and "too good" not in text(1)


def test_random_weights_are_told_apart_from_unknown_ones(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    [config] = (tmp_path / "runs").rglob("config.yaml")

    def weights():
        built = build_document(Study.read(tmp_path / "runs"), tmp_path / "figures")
        [row] = tables(built)["Methods compared."].rows
        return row[3]

    assert weights() == "-"
    config.write_text(config.read_text().replace("PRETRAINED: true", "PRETRAINED: false"))
    assert weights() == "random"
    config.write_text(config.read_text().replace("INIT_WEIGHTS: ''", "INIT_WEIGHTS: a.pth"))
    assert weights() == "-"


def test_the_method_in_detail_is_chosen_by_val_or_by_name(runs):
    assert Study.read(runs).parts[0].why == BY_VAL
    part = Study.read(runs, "ZooLinear").parts[0]
    assert part.why == BY_NAME and part.label == "ZooLinear"
    with pytest.raises(UserError, match="did you mean 'ZooLinear'"):
        Study.read(runs, "ZooLinaer")


def test_a_transductive_method_is_not_chosen_beside_the_others(monkeypatch):
    """It has seen all images that it is compared on."""

    def group(trainer, shots, seen):
        return Group("Zoo", trainer, "B", "default", shots, 0, [{"transductive": seen}])

    groups = [group("LinearProbe", 4, False), group("CoOp", 4, False), group("TransCLIP", 8, True)]
    accuracy = {"LinearProbe": 0.5, "CoOp": 0.6, "TransCLIP": 0.9}
    monkeypatch.setattr(study, "_val_accuracy", lambda g: accuracy[g.trainer])
    assert study._part("Zoo", groups, "").featured.trainer == "CoOp"
    assert study._part("Zoo", groups[2:], "").featured.trainer == "TransCLIP"
    assert study._part("Zoo", groups, "TransCLIP").why == BY_NAME


def test_a_wrong_folder_is_told_before_a_library_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(
        WRITERS, "docx", ("cerviclip.report.writers.word", "no_such_library", "docx")
    )
    with pytest.raises(UserError, match="there is no folder .*nowhere"):
        main([str(tmp_path / "nowhere"), "--format", "docx"])


def test_errors_are_one_line(runs, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="does not end in .pdf"):
        main([str(runs), "--format", "pdf", "--out", str(tmp_path / "x.docx")])
    monkeypatch.setitem(
        WRITERS, "pdf", ("cerviclip.report.writers.pdf", "no_such_library", "fpdf2")
    )
    with pytest.raises(UserError, match=r'pip install -e "\.\[report\]"'):
        load_writer("pdf")


def test_blanks_and_numbers():
    assert pieces("a [AUTHORS: b] c") == [("a ", False), ("[AUTHORS: b]", True), (" c", False)]
    assert cell({"value": -1.25, "low": None, "high": None}) == "−1.2"
    assert cell({"value": None, "low": None, "high": None}) == "-"
    assert cell({"value": 71.62, "low": 62.88, "high": 79.21}) == "71.6 [62.9, 79.2]"


@pytest.fixture(scope="module")
def fitted(runs, tmp_path_factory):
    """Draft and folder of a closed-form fit on a backbone that brings its own image size."""
    plugins.reset_plugins()  # the zoo's data sets are registered anew
    for name in [name for name in DATASET_REGISTRY._obj_map if name.startswith("Zoo")]:
        del DATASET_REGISTRY._obj_map[name]
    zoo = Zoo(tmp_path_factory.mktemp("fitted"))
    more = ("--backbone", "PhantomCLIP", "--output-dir", str(zoo.out / "probe"))
    run_one(zoo.cfg("LinearProbe", "full", *more, INPUT__SIZE="(224, 224)"), echo=False)
    plugins.reset_plugins()
    return "\n".join(
        block.words for block in build_document(Study.read(zoo.out), zoo.root / "figures").blocks
    ), zoo.out / "probe"


def test_the_draft_says_what_the_model_saw_and_not_what_the_config_has_keys_for(fitted):
    text, run = fitted
    assert "INTERPOLATION" in (run / "config.yaml").read_text()
    assert "resize the smaller edge to 96, 96x96 center crop" in text and "bicubic" in text
    assert "mean=[0.48145466" in text and "without random changes" in text
    assert not re.search(r"(?<![\d.])224", text)  # an interval may hold 0.224
    for unused in ("OPTIM.", "INPUT.", "random_flip", "SHOTS_BY", "Shots were drawn"):
        assert unused not in text, unused
    assert "one fit of the method's own" in text and "learned from all training images" in text
    assert "equally many images of each class" not in text


def test_the_draft_names_the_optimiser_that_ran(document, runs):
    text = "\n".join(block.words for block in document.blocks)
    assert "SGD, learning rate 0.2" in text and "random flip" in text and "resize to 8x8" in text
    setup = json.loads((runs / "ZooLinear" / "results.json").read_text())["setup"]
    assert setup["training"]["by"] == "steps" and setup["training"]["epochs"] == 2


def test_what_methods_saw_alike_is_said_once(runs):
    part = Study.read(runs).parts[0]
    [group] = part.groups
    other = copy.deepcopy(group)
    other.runs[0]["trainer"], other.runs[0]["setup"]["training"] = "ZooOther", {"by": "none"}
    part.groups.append(dataclasses.replace(other, trainer="ZooOther"))
    assert preparation(part)[1:] == [
        f"ZooLinear: {preparation(Study.read(runs).parts[0])[0].partition('. ')[2]}",
        "ZooOther: Nothing was trained on images.",
    ]
    other.runs[0]["setup"]["input"]["test"] = [["resize to 9x9"]]
    assert [told.partition(":")[0] for told in preparation(part)] == [
        "ZooMain, ZooLinear", "ZooMain, ZooOther"
    ]  # fmt: skip


def test_a_csv_has_every_run_with_whole_hashes(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    [path] = (tmp_path / "runs").rglob("results.json")
    results = json.loads(path.read_text())
    for i in range(41):
        copied = shutil.copytree(path.parent, path.parent.with_name(f"seed{i}"))
        (copied / "results.json").write_text(json.dumps(results | {"seed": 10 + i}, indent=1))
    failed = results | {"status": "failed", "error": "no disk\nleft", "seed": 99}
    (copied / "results.json").write_text(json.dumps(failed, indent=1))
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "draft.md")]) == 0
    rows = list(csv.DictReader((tmp_path / "draft_runs.csv").read_text().splitlines()))
    assert sorted(int(row["seed"]) for row in rows) == [1, *range(10, 50), 99]
    assert {row["config_hash"] for row in rows} == {results["config_hash"]}
    assert (rows[0]["folder"], rows[-1]["error"]) == (path.parent.name, "no disk left")
    text = (tmp_path / "draft.md").read_text()
    assert "draft_runs.csv has every run with its whole hashes, 1 more than are shown" in text


def test_a_run_without_the_record_claims_nothing(runs, document):
    part = Study.read(runs).parts[0]
    for group in part.groups:
        group.runs[0]["setup"] = {}
    (told,) = preparation(part)
    assert "not recorded" in told and "AUTHORS" in told
    assert "not recorded" in training_rows({**part.run, "setup": {}})[0][1]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"by": "release"}, "as the data set's release says"),
        ({"by": "patient", "ratio": [0.6, 0.2, 0.2]}, r"\(shares 0.6 / 0.2 / 0.2\)"),
        ({}, "AUTHORS"),
    ],
)
def test_the_split_is_told_by_its_own_file(runs, record, said):
    part = Study.read(runs).parts[0]
    part.__dict__["split"] = record
    assert re.search(said, split_sentence(part))


def with_split(runs, record):
    part = Study.read(runs).parts[0]
    part.__dict__["split"] = record
    for source in part.run["flow"]["sources"].values():
        source["seen"]["patients"] = 9
    return part


def test_parts_are_not_called_disjoint_by_patient_where_nobody_knows_the_patients(runs):
    part = with_split(runs, {"by": "patient", "ratio": [0.6, 0.2, 0.2]})
    assert "disjoint at the level of the patient" in split_sentence(part)
    for source in part.run["flow"]["sources"].values():
        source["seen"]["patients"] = None
    told = split_sentence(part)
    assert "disjoint" not in told and "by patient" not in told
    assert "split by image" in told and "No patient is known" in told and "AUTHORS" in told


def test_a_center_that_is_left_out_is_no_fold_of_patients(runs):
    record = {"by": "patient", "ratio": [0.6, 0.2, 0.2], "sources": ["b", "c"], "targets": ["a"]}
    told = split_sentence(with_split(runs, record | {"left_out": "a"}))
    assert "tested on as a whole: a." in told and "folds" not in told
    told = split_sentence(with_split(runs, record))
    assert told.startswith("The images of b, c were split by patient")
    assert "all images of a were tested on" in told


def test_a_draw_of_a_file_is_not_called_a_draw_for_each_seed(runs, monkeypatch):
    part = with_split(runs, {"by": "file"})
    assert "anew for each seed" in draw_sentence(part)
    config = {"DATASET": {"DRAW_FILE": "splits/published.json"}}
    monkeypatch.setattr(study.Part, "config", config)
    told = draw_sentence(part)
    assert "anew" not in told and "those that published.json names" in told


def test_whoever_saw_the_test_images_early_is_told(runs):
    part = Study.read(runs).parts[0]
    plain = "were used for nothing but the final scores."
    assert use_of_test_sentence(part).endswith(plain)
    assert "none of 1 run here did" in hidden_sentence([part.run])
    for key, said in (("test_read_early", "before training had ended"), ("transductive", "labels")):
        part.featured.runs[0][key] = True
        assert said in use_of_test_sentence(part) and "except" in use_of_test_sentence(part)
    assert "1 of 1 run here did" in hidden_sentence(part.featured.runs)
    part.featured.runs[0]["centers"] = {"val": {}}
    assert "not scored" in use_of_test_sentence(part)


def test_thresholds_are_of_val_alone_but_not_from_before_the_test():
    told = thresholds_sentence({"operating_points": {"points": {"youden": {}}}})
    assert "on val alone" in told and "before any test image" not in told


def test_centers_without_patients_are_named_beside_the_unit(runs):
    part = Study.read(runs).parts[0]
    assert "where the image is the unit" not in _without_patients(Study(runs, [], [part]))
    part.run["centers"]["test"]["uncertainty"] = {"unit": "image"}
    told = _without_patients(Study(runs, [], [part]))
    assert f"{part.dataset} (test), where the image is the unit" in told


def test_no_threshold_is_claimed_where_val_chose_none():
    run = {"operating_points": {"points": {}, "reason": "there is no val part"}}
    assert thresholds_sentence(run) == "No operating points were chosen (there is no val part)."
    assert "transductive" in hidden_sentence([{"trainer": "TransCLIP", "transductive": True}])


def test_patients_of_several_classes_are_explained_and_on_the_data_card(runs, tmp_path):
    study = Study.read(runs)
    run, centers = study.parts[0].run, study.parts[0].run["centers"]
    run["warnings"] = ["a warning of the run"]
    run["patient_level"] = {
        "rule": "mean",
        "mixed_patients": {"test": centers["test"]["n_patients"], "ZooFar": 0},
        "centers": centers,
    }
    found = tables(build_document(study, tmp_path / "figures"))
    table = next(t for caption, t in found.items() if "Performance by patient" in caption)
    assert "true class is the most frequent" in table.note and "At test most patients" in table.note
    patients = str(centers["test"]["n_patients"])
    assert ("patients with several classes", patients, "0") in table.rows
    card = dict(found["Data card of ZooMain."].rows)["Known defects"]
    assert "a warning of the run" in card and f"{patients} of {patients} patients" in card
    assert "none on record" not in card
    run["measured_with"] = {"order": list(centers["test"]["per_class"])}
    assert "the worst class of her images" in patient_note(run)


def test_the_card_of_own_images_says_nothing_of_the_software():
    document = Document("t", "s")
    for name in ("FolderDataset", "Centers"):
        assert facts(name) == {}
        card(document, name, None)
    for block in tables(document).values():
        assert block.rows[0][1].startswith("[AUTHORS: what the images show")
        assert "config" not in block.words and "CSV" not in block.words


def test_a_card_says_what_the_module_says():
    found = facts("SIPaKMeD")
    assert found["where"].startswith("https://www.cs.uoi.gr/")
    assert found["licence"].startswith("none is stated")
    assert "No patient or slide is published." in found["defects"]
    assert "No patient is behind" in facts("PhantomOCT")["defects"]


def test_other_prevalences_are_promised_where_they_are_given(document, runs, tmp_path):
    results = json.loads((runs / "ZooLinear" / "results.json").read_text())
    points = results["operating_points"]["points"]
    found = points["youden"]["centers"]["test"]
    caption = "PPV and NPV by image at other prevalences, at the same operating points."
    rows = tables(document)[caption].rows
    assert rows == tuple(prevalence_rows(results["operating_points"]))
    assert len(rows) == 3 * 3 * 2  # points, prevalences, centres
    [youden] = [row for row in rows if row[:3] == ("Youden", "test", "5")]
    assert youden[3:] == (cell(found["ppv_at"]["0.05"]), cell(found["npv_at"]["0.05"]))
    said = "The results give PPV and NPV at prevalences of 1, 5, 20 % as well."
    assert any(said in block.words for block in document.blocks)
    without = Study.read(runs)
    for group in without.parts[0].groups:
        group.runs[0]["operating_points"]["points"] = {}
        group.runs[0]["patient_level"] = None
    bare = build_document(without, tmp_path)
    assert not any("at prevalences of" in block.words for block in bare.blocks)
    assert not any("other prevalences" in caption for caption in tables(bare))


def test_sensitivity_is_defined_in_the_methods_and_below_its_table(document):
    assert "most probable class is in the positive group" in RULE
    assert any(RULE in block.words for block in document.blocks if not isinstance(block, Table))
    assert RULE in tables(document)["Performance by image."].note
    assert SHORT["binary.accuracy"] == "Binary accuracy (%)"


def metric_note(entry):
    table = Document("t", "s")
    _metric_table(table, "Performance by image", {"test": entry})
    [block] = table.blocks
    return block


def test_patients_of_both_kinds_have_a_footnote():
    counts = {"events": {"patients": 7}, "non_events": {"patients": 6}}
    entry = {"n_images": 30, "n_patients": 10, "accuracy": {"value": 50.0}, "counts": counts}
    block = metric_note(entry)
    assert ("patients with / without the event", "7 / 6") in block.rows
    assert "counts as one with the event and as one without it" in block.note
    counts["events"]["patients"] = 4
    assert "as one without it" not in metric_note(entry).note


def test_patients_whom_nobody_knows_are_not_counted():
    counts = {"events": {"patients": 7}, "non_events": {"patients": 23}}
    entry = {"n_images": 30, "n_patients": 30, "accuracy": {"value": 50.0}, "counts": counts}
    entry["uncertainty"] = {"unit": "image"}
    block = metric_note(entry)
    assert (
        block.rows[0]
        == ("images / patients", "30 / not known")
        == (
            "images / patients",
            size_of(entry),
        )
    )
    assert block.rows[1][1] == "not known"
    assert "each image counts as a patient" in block.note


def test_maps_of_a_method_are_suggested_only_where_it_ran(document):
    [text] = [b.words for b in document.blocks if b.words.startswith("Explanations:")]
    assert "SAVLT" not in text


def test_the_draft_calls_the_study_by_its_title(runs, tmp_path):
    folder = shutil.copytree(runs, tmp_path / "out")
    assert retitle(folder / "ZooLinear", "Cervix OCT, Hospital A")
    document = build_document(Study.read(folder), tmp_path / "figures")
    assert document.title == "Methods and results: Cervix OCT, Hospital A"
    words = [block.words for block in document.blocks]
    assert "Data card: Cervix OCT, Hospital A" in words
    whole = tables(document)
    card_rows = dict(whole["Data card of Cervix OCT, Hospital A."].rows)
    assert card_rows["Name in files and folders"] == "ZooMain"
    assert any(row[0] == "Cervix OCT, Hospital A" for row in whole["Leaks looked for before "
               "training."].rows)  # fmt: skip
    assert "Cervix OCT, Hospital A: accuracy (%)." in whole
    assert any("Data card: ZooFar" in text for text in words)  # a centre keeps its name
    told = [text for text in words if "ZooMain" in text and "warning" not in text.lower()]
    assert [text for text in told if "Name in files and folders" not in text] == []


def test_a_centre_called_as_the_title_keeps_its_place_in_the_flow(runs, tmp_path):
    folder = shutil.copytree(runs, tmp_path / "out")
    retitle(folder / "ZooLinear", "ZooFar")
    part = Study.read(folder).parts[0]
    assert part.name == "ZooFar" and set(part.flow["sources"]) == {"ZooMain", "ZooFar"}
    part.run["flow"] = {}
    assert part.flow == {}  # a run of before flow was kept
