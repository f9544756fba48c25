"""Reports: their text is read back from the file."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
from PIL import Image

from cerviclip import Predictor
from cerviclip.app.answer import Neighbour, Prediction
from cerviclip.app.explain.details import METHODS
from cerviclip.app.pdf import write_pdf
from cerviclip.app.pdf.report import TEXTS
from cerviclip.app.pdf.warrant import _interval, facts, point_rows
from cerviclip.app.web.basis import calibrations, coinciding, rests_on
from cerviclip.app.web.texts import LANGUAGES, Texts, read_texts
from cerviclip.drawing import fonts
from cerviclip.runs.results_json import read_results
from dassl._version import __version__
from dassl.errors import UserError

pypdf = pytest.importorskip("pypdf")
pytest.importorskip("fpdf")


def text_of(path) -> str:
    """All text with single blanks, as lines break anywhere."""
    pages = pypdf.PdfReader(path).pages
    return " ".join(" ".join(page.extract_text().split()) for page in pages)


def without_blanks(text: str) -> str:
    return re.sub(r"[\s\0]", "", text)  # pypdf reads the first byte of a Chinese character as 0


@pytest.fixture(scope="module")
def answers(predictor, cells):
    return predictor.predict(sorted(cells.rglob("*.png"))[:3])


@pytest.fixture(scope="module")
def one(predictor, answers, tmp_path_factory):
    """Path, text and answer of a report on one image."""
    path = tmp_path_factory.mktemp("pdf") / "one.pdf"
    write_pdf(answers[:1], path, predictor=predictor, entries=["7-abcdef123456"])
    return path, text_of(path), answers[0]


def test_a_report_of_one_image_has_two_pages_and_the_answer(one):
    path, text, answer = one
    reader = pypdf.PdfReader(path)
    assert len(reader.pages) == 2
    assert all("Research use only" in page.extract_text() for page in reader.pages)
    assert f"{answer.predicted}: {100 * answer.probability:.1f} %" in text
    for name, share in answer.by_class.items():
        assert re.search(rf"{name}\s+{100 * share:.1f} %", text), name
    assert f"have {100 * answer.positive_probability:.1f} %" in text
    assert "7-abcdef123456" in text
    assert len(reader.pages[0].images) >= 1


def test_each_page_of_a_phantom_model_says_so(predictor, answers, tmp_path):
    task = replace(predictor.task, dataset="PhantomOCT")
    phantom = Predictor([replace(m, task=task) for m in predictor.members])
    for name, some in (("one", answers[:1]), ("two", answers[:2])):
        write_pdf(some, tmp_path / name, predictor=phantom, heat_maps=False)
        pages = pypdf.PdfReader(tmp_path / name).pages
        assert all("Phantom: this model" in page.extract_text() for page in pages)
    assert "Phantom" in phantom.notice and "Phantom" not in predictor.notice


def test_each_operating_point_says_what_it_calls_the_image(one):
    _, text, answer = one
    assert answer.operating_points
    for point in answer.operating_points.values():
        word = "positive" if point.called_positive else "negative"
        assert re.search(rf"{100 * point.threshold:.1f} % {word}", text), point.name


def test_each_calibrated_value_is_named_and_few_patients_are_told(one, predictor):
    _, text, answer = one
    assert f"(isotonic calibration: {100 * answer.calibrated_positive:.1f} %)" in text
    for name, share in answer.best_by_class.items():
        assert re.search(rf"{name} [\d.]+ % \(temperature: {100 * share:.1f} %\)", text), name
    t = Texts("en", TEXTS)
    assert calibrations(t, answer, "val") in text
    few = rests_on(t, predictor.knowledge.home)
    assert few and few in text


def test_similar_images_of_one_class_stand_together(answers, tmp_path):
    near = [("red", 0.1), ("red", 0.25), ("blue", 0.3), ("red", 0.5)]
    one = replace(answers[0], neighbours=tuple(Neighbour("", name, far) for name, far in near))
    write_pdf([one], tmp_path / "near.pdf", heat_maps=False)
    text = text_of(tmp_path / "near.pdf")
    assert "in brackets): red (0.100, 0.250), blue (0.300), red (0.500)." in text


def test_points_of_one_threshold_are_told_once(answers, tmp_path):
    points = answers[0].operating_points
    value = points["youden"].threshold
    same = {name: replace(point, threshold=value) for name, point in points.items()}
    same["cost"] = replace(points["youden"], name="cost", threshold=value / 2)
    answer = replace(answers[0], operating_points=same)
    write_pdf([answer], tmp_path / "same.pdf", heat_maps=False)
    text = text_of(tmp_path / "same.pdf")
    (said,) = coinciding(Texts("en", TEXTS), {n: p.threshold for n, p in same.items()}, "val")
    assert "95 % sensitivity, 95 % specificity and Youden have the same threshold" in said
    assert said in text and text.count(f"{100 * value:.1f} %") == 2  # its row, and what is said
    assert text.count(f"{100 * value / 2:.1f} %") == 1


def test_the_warrant_tells_points_of_one_threshold_once(predictor, tmp_path):
    blocks = json.loads(json.dumps(predictor.knowledge.blocks))
    for point in blocks["operating_points"]["points"].values():
        if point["threshold"] is not None:
            point["threshold"] = 0.4375
    rows = point_rows(Texts("en", TEXTS), blocks)
    assert [row[:3] for row in rows] == [
        ["95 % sensitivity, 95 % specificity and Youden", "43.8 %", "test"]
    ]
    zh = point_rows(Texts("zh", TEXTS), blocks)
    assert " 至 " in "".join(zh[0]) and " to " not in "".join(zh[0])


def test_the_warrant_has_the_figures_of_the_run(one, predictor, probe):
    _, text, _ = one
    results = read_results(probe)
    for name, entry in results["centers"].items():
        value = entry["accuracy"]
        figures = f"{value['value']:.1f} ({value['low']:.1f} to {value['high']:.1f})"
        assert without_blanks(figures) in without_blanks(text), name
        assert f"{entry['n_images']} / {entry['n_patients']}" in text
    for said in (results["trainer"], results["config_hash"], results["weights_sha256"]):
        assert said in text
    assert predictor.model_id in text
    assert f"CerviCLIP {__version__}" in text


def test_the_warrant_calls_the_study_by_its_title(predictor):
    results = {"dataset": "FolderDataset", "runtime": {"title": "Cervix OCT, Hospital A"}}
    t = Texts("en", TEXTS)
    told = dict(facts(t, predictor, results))
    assert told[t("trained_on")].startswith("Cervix OCT, Hospital A; ")


def test_no_file_name_unless_asked(predictor, answers, tmp_path):
    named, unnamed = tmp_path / "named.pdf", tmp_path / "unnamed.pdf"
    broken = tmp_path / "P7654321_zuleika.png"
    broken.write_bytes(b"no image")
    every = [*answers, predictor.predict(broken)]
    assert every[-1].error
    write_pdf(every, named, predictor=predictor, names=True, heat_maps=False)
    write_pdf(every, unnamed, predictor=predictor, heat_maps=False)
    with_names, without = without_blanks(text_of(named)), without_blanks(text_of(unnamed))
    for answer in every:
        name = answer.path.rsplit("/", 1)[1]
        assert name in with_names
        assert name not in without
    assert "zuleika" not in without
    assert "P7654321" not in str(pypdf.PdfReader(unnamed).metadata)
    assert "couldnotberead:1." in without


def test_a_batch_has_a_table_of_all_and_says_which_pages_there_are(predictor, answers, tmp_path):
    path, done = tmp_path / "batch.pdf", []
    write_pdf(
        answers, path, predictor=predictor, heat_maps=False, most_pages=2, on_page=done.append
    )
    text = text_of(path)
    assert len(pypdf.PdfReader(path).pages) == 1 + 2 + 1
    assert done == answers[:2]
    assert "first 2 images" in text and "The table has all 3" in text
    assert "Image 2 of 3" in text and "Image 3 of 3" not in text


def test_bytes_and_a_report_without_a_predictor(answers, tmp_path):
    content = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(content, "PNG")
    path = tmp_path / "bare.pdf"
    given = [content.getvalue(), b"broken", None]
    write_pdf([replace(one, path="") for one in answers], path, pictures=given)
    text = text_of(path)
    assert "the model was not given" in text and "cannot say what the model was trained" in text
    assert text.count("not at hand") == 2


def bare(name: str) -> Prediction:
    return Prediction((name, "other"), (0.75, 0.25))


def test_greek_cyrillic_and_a_character_that_no_font_has(tmp_path):
    path = tmp_path / "letters.pdf"
    write_pdf([bare("Ωμέγα Шейка \U00013000 \udc80")], path)
    text = text_of(path)
    assert "Ωμέγα Шейка ? ?: 75.0 %" in text
    assert "U+DC80" in text and "U+13000" in text and fonts.REMEDY in text


@pytest.mark.slow
def test_chinese_with_its_font(tmp_path):
    if fonts.chinese_font() is None:
        pytest.skip(f"no font for Chinese here: {fonts.REMEDY}")
    path = tmp_path / "zh.pdf"
    write_pdf([bare("高级别病变")], path, language="zh")
    text = without_blanks(text_of(path))
    assert "高级别病变" in text and "仅供研究使用" in text and "U+" not in text


def test_chinese_without_a_font(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "chinese_font", lambda: None)
    path = tmp_path / "none.pdf"
    write_pdf([bare("高级别病变")], path)
    text = text_of(path)
    assert "?????: 75.0 %" in text
    assert "has 5 of the characters" in text


def test_lines_fit_their_width_and_lose_nothing():
    from cerviclip.app.pdf.document import Document

    pdf = Document("a", "b", "c", "{n}/{total}")
    pdf.add_page()
    pdf.set_font("plain", "", 9)
    text = "one two " * 20 + "x" * 300 + " end"
    broken = pdf.broken(text, 60)
    assert without_blanks(broken) == without_blanks(text)
    assert max(map(pdf.get_string_width, broken.split("\n"))) <= 60
    assert "one two one" in broken
    for width in range(18, 40):
        whole = pdf.broken("has 76.6 % of all (or 3.2 %) and 100.0 %", width)
        assert "\n%" not in whole
    pdf.release()


def test_marks_do_not_begin_or_end_a_chinese_line():
    from cerviclip.app.pdf.document import _PARTS

    text = "阳性组（所有计为病变的类别合计）为 66.0 %，见“结果”页：cancer（HSIL）。"
    parts = _PARTS.findall(text)
    assert "".join(parts) == text
    assert not any(part[0] in "），。：”%" or part[-1] in "（“" for part in parts), parts
    assert {"66.0 %，", "（HSIL）。", "（所"} <= set(parts)


def test_a_short_paragraph_stays_on_one_page():
    from cerviclip.app.pdf.document import Document

    pdf = Document("a", "b", "c", "{n}/{total}")
    pdf.add_page()
    pdf.set_y(pdf.page_break_trigger - 6)  # room for one of its lines
    pdf.paragraph("one two three four " * 12)
    assert pdf.page == 2 and pdf.get_y() > 18 + 2 * 4.4
    pdf.paragraph("long " * 2000)  # more than a page: begins where it stands
    assert pdf.page > 2
    pdf.release()


def test_mistakes_are_named(answers, tmp_path):
    with pytest.raises(UserError, match="at least one"):
        write_pdf([], tmp_path / "x.pdf")
    with pytest.raises(UserError, match="3 answers and 1 pictures"):
        write_pdf(answers, tmp_path / "x.pdf", pictures=[None])
    assert not (tmp_path / "x.pdf").exists()


def test_both_languages_have_the_same_strings_and_places():
    every = {language: read_texts(language, TEXTS) for language in LANGUAGES}
    for texts in every.values():
        assert all(texts[f"heat_by_{method}"] for method in METHODS)
    assert "same for every class" not in "".join(every["zh"].values())
    assert set(every["en"]) == set(every["zh"])
    for key, text in every["en"].items():
        places = sorted(set(re.findall(r"{(\w+)}", text)))
        assert sorted(set(re.findall(r"{(\w+)}", every["zh"][key]))) == places, key


def test_the_command_writes_a_report(probe, cells, tmp_path, capsys):
    from cerviclip.app.predict_command import main

    picture, csv = sorted(cells.rglob("*.png"))[0], tmp_path / "a.csv"
    out = tmp_path / "report.pdf"
    words = [str(probe), str(picture), "--device", "cpu", "--csv", str(csv)]
    assert main(words) == 0
    assert main([*words, "--pdf", str(out), "--pdf-names"]) == 0  # its row was there already
    assert picture.name in without_blanks(text_of(out))
    assert "report on 1 image:" in capsys.readouterr().out
    with pytest.raises(UserError, match="is a folder"):
        main([*words, "--pdf", str(tmp_path)])


def test_the_intervals_of_each_figure_are_called_by_their_own_method():
    methods = {"default": "mid-P", "balanced_accuracy": "MOVER", "macro_auc": "MOVER"}
    results = {"centers": {"test": {"uncertainty": {"method": methods}}}}
    told = _interval(str, results)
    assert told == "accuracy, sensitivity, specificity: mid-P; balanced_accuracy, macro_auc: MOVER"
    results["centers"]["test"]["uncertainty"]["method"] = {"default": "bootstrap"}
    assert _interval(str, results) == "bootstrap" and _interval(str, {}) == "interval_default"
