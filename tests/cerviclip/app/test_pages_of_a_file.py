"""A file of several pages: the first is read, and every way to an answer says so."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from cerviclip.app.table.columns import Columns
from cerviclip.app.web.answers import answer_table, predict_bytes
from cerviclip.cli import main

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Files of three pages, and the note of each."""
    folder = tmp_path_factory.mktemp("several")
    first, *others = (Image.new("RGB", (96, 96), colour) for colour in COLOURS)
    notes = {}
    for name, word in {"a.tif": "page", "b.gif": "frame", "c.webp": "frame"}.items():
        first.save(folder / name, save_all=True, append_images=others)
        notes[folder / name] = f"{word} 1 of 3"
    first.save(folder / "d.tif")
    return notes | {folder / "d.tif": ""}


def test_an_answer_says_which_page_it_is_of(predictor, several):
    answers = predictor.predict(list(several))
    assert [answer.note for answer in answers] == list(several.values())
    assert not any(answer.error for answer in answers)
    one, alone = answers[0], answers[-1]
    np.testing.assert_allclose(one.probabilities, alone.probabilities, atol=1e-6)  # the first page
    files = [(path.name, path.read_bytes()) for path in several]
    assert [a.note for a in predict_bytes(predictor, files)] == list(several.values())
    with Image.open(next(iter(several))) as image:
        image.seek(1)
        assert predictor.predict(image).note == "page 2 of 3"  # the caller's choice


def test_a_damaged_later_page_costs_only_the_count(predictor, several, tmp_path):
    gif = next(path for path in several if path.suffix == ".gif")
    content = gif.read_bytes()
    (tmp_path / "cut.gif").write_bytes(content[: 2 * len(content) // 3])
    answer = predictor.predict(tmp_path / "cut.gif")
    assert not answer.error and answer.note.startswith("frame 1 of ")


def test_the_tables_have_the_note(predictor, probe, several, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert main(["predict", str(probe), *map(str, several), "--csv", str(out)]) == 0
    assert "3 of them have several pages or frames" in capsys.readouterr().out
    with open(out, encoding="utf-8", newline="") as handle:
        assert [row["note"] for row in csv.DictReader(handle)] == list(several.values())
    page = answer_table(predictor.predict(list(several)), predictor, "m")
    assert list(page["note"]) == list(several.values()) and "note" in Columns.of(predictor).names
    assert main(["predict", str(probe), *map(str, several)]) == 0
    assert capsys.readouterr().out.count("(frame 1 of 3)") == 2


def test_the_report_has_the_note(predictor, several, tmp_path):
    pypdf = pytest.importorskip("pypdf")
    pytest.importorskip("fpdf")
    from cerviclip.app.pdf import write_pdf

    answers = predictor.predict(list(several))
    write_pdf(answers, tmp_path / "out.pdf", predictor=predictor, heat_maps=False)
    table, *pages = (
        " ".join(page.extract_text().split())
        for page in pypdf.PdfReader(tmp_path / "out.pdf").pages
    )
    assert "(page 1 of 3)" in table and table.count("(frame 1 of 3)") == 2
    for note, text in zip(several.values(), pages, strict=False):
        assert (f"Read of the file: {note}." in text) == bool(note)
