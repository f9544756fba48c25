"""The surest errors of a run, as rows and as pictures."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from run_fixtures import whole_results

from cerviclip.data.centers.coarse import NEGATIVE, POSITIVE
from cerviclip.data.checks.sheet import draw_panels, told
from cerviclip.runs.inspection import sheet
from cerviclip.runs.inspection.errors import confident_errors
from cerviclip.runs.predictions import Predictions, write_predictions
from cerviclip.tools import errors
from dassl.errors import cli_main

CLASSES = ("a", "b", "c")
PROBS = [(0.1, 0.7, 0.2), (0.2, 0.2, 0.6), (0.0, 0.95, 0.05), (0.4, 0.3, 0.3), (0.1, 0.0, 0.9)]


def predictions(center="test", labels=(0, 2, 0, 0, 1)):
    paths = [f"x/{center}{i}.png" for i in range(5)]
    ids = [f"P{i}" for i in range(5)]
    return Predictions(center, paths, ids, np.array(labels), np.array(PROBS), CLASSES)


@pytest.fixture
def run(tmp_path):
    folder, root = tmp_path / "run", tmp_path / "data"
    parts = [predictions(), predictions("far", (2, 1, 2, 0, 0))]
    folder.mkdir()
    write_predictions(folder, parts, CLASSES)
    (folder / "config.yaml").write_text(f"DATASET: {{ROOT: {root}}}\n")
    (folder / "results.json").write_text(json.dumps(whole_results(positive_classes=["c"])))
    for n, path in enumerate(path for p in parts for path in p.paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (20 * n, 90, 200)).save(root / path)
    return folder


def test_wrong_answers_come_by_their_probability():
    found = confident_errors(predictions())
    assert [(e.path, e.label, e.predicted, e.probability, e.of_truth) for e in found] == [
        ("x/test2.png", "a", "b", 0.95, 0.0),
        ("x/test4.png", "b", "c", 0.9, 0.0),
        ("x/test0.png", "a", "b", 0.7, 0.1),
    ]
    assert [e.rank for e in found] == [1, 2, 3]


def test_a_centre_of_groups_errs_in_groups():
    coarse = predictions(labels=(NEGATIVE, NEGATIVE, POSITIVE, NEGATIVE, POSITIVE))
    found = confident_errors(coarse, ["c"])
    assert [(e.path, e.label, e.predicted) for e in found] == [
        ("x/test2.png", "positive", "negative"),
        ("x/test1.png", "negative", "positive"),
    ]
    assert found[0].probability == pytest.approx(0.95)


def test_all_right_has_no_errors():
    assert confident_errors(predictions(labels=(1, 2, 1, 0, 2))) == []


def test_a_sheet_of_nothing_is_not_written(tmp_path):
    assert draw_panels([], tmp_path / "s.png") == 0 and not list(tmp_path.iterdir())
    assert told(tmp_path / "s.png", 0, "nothing") == f"nothing: {tmp_path / 's.png'} is not written"
    (tmp_path / "s.png").touch()
    assert told(tmp_path / "s.png", 0, "nothing").endswith("is of an earlier call")


def test_csv_and_sheet(run, tmp_path, capsys):
    table, picture = tmp_path / "errors.csv", tmp_path / "errors.png"
    flags = [str(run), "--most", "2", "--csv", str(table), "--sheet", str(picture)]
    assert cli_main(errors.main, flags) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["center"] for row in rows].count("test") == 3
    assert float(rows[0]["p_prediction"]) == 0.95
    colours = np.unique(np.asarray(Image.open(picture)).reshape(-1, 3), axis=0).tolist()
    assert [40, 90, 200] in colours  # x/test2.png, the surest
    assert [0, 90, 200] not in colours  # x/test0.png is the third
    assert "test: 3 of 5 images wrong, the surest 2:" in capsys.readouterr().out


def test_the_sheet_says_of_how_many_errors_and_names_each_file(run, tmp_path, monkeypatch):
    panels = []
    monkeypatch.setattr(sheet, "draw_panels", lambda found, target: panels.extend(found) or 1)
    flags = [str(run), "--most", "2", "--sheet", str(tmp_path / "errors.png")]
    assert cli_main(errors.main, flags) == 0
    first = panels[0]
    assert (first.title, first.beside) == ("test", "the surest 2 of 3 errors in 5 images")
    assert [lines for _, lines in first.pictures] == [
        ("1: test2.png", "true a 0.00", "said b 0.95"),
        ("2: test4.png", "true b 0.00", "said c 0.90"),
    ]
    assert cli_main(errors.main, [str(run), "--sheet", str(tmp_path / "errors.png")]) == 0
    assert panels[2].beside == "3 errors in 5 images"


def test_one_centre_alone(run, capsys):
    assert cli_main(errors.main, [str(run), "--centers", "far"]) == 0
    assert "x/far" in (out := capsys.readouterr().out) and "x/test" not in out


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--centers", "fra"], "did you mean 'far'"),
        (["--most", "0"], "--most 0"),
        (["--sheet", "s.png", "--root", "/nowhere"], "10 of the run's 10 images are not there"),
        (["--sheet", "s.doc"], "the suffix must be one of"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, capsys, flags, words):
    assert cli_main(errors.main, [str(run), *flags]) == 2
    assert words in (error := capsys.readouterr().err) and error.count("\n") == 1
