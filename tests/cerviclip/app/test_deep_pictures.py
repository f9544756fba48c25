"""Pictures of more than 8 bits are scaled as the run's training images were, wherever they lie."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from cerviclip import Predictor
from cerviclip.data.reading import Reading
from cerviclip.runs.run.load import load_run
from dassl.errors import UserError
from dassl.utils.deep_images import Windows, restore_windows, set_windows


@pytest.fixture(scope="module")
def deep(make_run, cells, tested_rows, tmp_path_factory):
    """A run on 12-bit images that lie elsewhere now, without their folder's range; its rows."""
    root = tmp_path_factory.mktemp("deep")
    for path in cells.rglob("*.png"):
        target = root / "data" / "deep" / path.relative_to(cells)
        target.parent.mkdir(parents=True, exist_ok=True)
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(grey * 16).save(target)  # up to 4080
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the range that is found is warned of
        run = make_run("LinearProbe", root / "data" / "deep", root / "run")
    shutil.move(root / "data" / "deep", root / "new")
    set_windows(str(root / "data" / "deep"), Windows())  # as in a process that never saw it
    rows = {str(root / "new" / p.removeprefix("deep/")): v for p, v in tested_rows(run).items()}
    return run, rows


def test_the_range_is_kept_with_the_run_and_applied(deep):
    run, rows = deep
    record = json.loads((run / "reading.json").read_text())
    assert record["integers"] == [0, 4095] and record["floats"] is None
    predictor = Predictor.from_run(run)
    said = [answer.probabilities for answer in predictor.predict(list(rows))]
    assert np.array_equal(said, list(rows.values()))
    arrays = [np.asarray(Image.open(path)).astype(np.uint16) for path in rows]
    assert [answer.probabilities for answer in predictor.predict(arrays)] == said


def test_the_folder_of_new_pictures_and_its_range_do_not_matter(deep, tmp_path):
    run, rows = deep
    path, wanted = next(iter(rows.items()))
    copy = shutil.copy(path, tmp_path)
    set_windows(str(tmp_path), Windows(integers=(0, 255)))
    try:
        (answer,) = Predictor.from_run(run).predict([copy])
    finally:
        restore_windows({str(tmp_path): Windows()})
    np.testing.assert_allclose(answer.probabilities, wanted, rtol=0, atol=1e-6)


def test_values_that_are_not_those_of_the_runs_range_are_told(deep, tmp_path):
    """A picture of full 16 bits came out white for a run on 12 bits."""
    run, rows = deep
    grey = np.asarray(Image.open(next(iter(rows))))
    for name, factor in (("full.png", 15), ("dim.png", 1 / 64), ("usual.png", 0.9)):
        Image.fromarray((grey * factor).astype(np.uint16)).save(tmp_path / name)
    files = [tmp_path / name for name in ("full.png", "dim.png", "usual.png")]
    full, dim, usual = (answer.note for answer in Predictor.from_run(run).predict(files))
    assert "% of its values lie outside 0 to 4095, the range of the run's images" in full
    assert "fill little of the run's 0 to 4095" in dim and usual == ""


def test_a_run_that_does_not_say_its_range_refuses_deep_pictures_alone(deep, cells):
    run, rows = deep
    record = (run / "reading.json").read_text()
    (run / "reading.json").unlink()
    try:
        answers = Predictor.from_run(run).predict([next(iter(rows)), next(cells.rglob("*.png"))])
    finally:
        (run / "reading.json").write_text(record)
    assert "more than 8 bits" in answers[0].error and answers[1].error == ""


def test_ranges_of_arrays(predictor):
    """A run on 8-bit images reads 16 bits as training would: 0-65535, dark ones with a warning."""
    with pytest.warns(UserWarning, match="an array uses values up to 4080"):
        assert predictor.predict(np.full((8, 8), 4080, np.uint16)).error == ""
    bright = predictor.predict(np.full((8, 8), 65535, np.uint16))
    assert bright.probabilities == predictor.predict(np.full((8, 8), 1.02)).probabilities


@pytest.mark.parametrize("windows", [Windows(), Windows((0, 4095), (-1000, 2000))])
def test_reading_survives_the_disk(tmp_path, probe, windows):
    cfg = load_run(probe).cfg
    reading = Reading(windows, r"(P\d+)é")
    reading.save(tmp_path)
    assert Reading.load(tmp_path, cfg) == reading


@pytest.mark.parametrize(
    "text, word",
    [
        ("{", "does not say how images were read"),
        ('{"version": 1}', "integers"),
        ('{"version": 9, "integers": null, "floats": null, "patient_pattern": ""}', "newer than"),
    ],
)
def test_a_broken_reading_is_one_line(tmp_path, probe, text, word):
    (tmp_path / "reading.json").write_text(text)
    with pytest.raises(UserError, match=word) as error:
        Reading.load(tmp_path, load_run(probe).cfg)
    assert "reading.json" in str(error.value) and "\n" not in str(error.value)


def test_an_old_run_says_what_its_settings_say(tmp_path, probe):
    cfg = load_run(probe).cfg.clone()
    cfg.defrost()
    assert Reading.load(tmp_path, cfg) == Reading(None, r"(P\d{7})")
    cfg.INPUT.BITS = 12
    assert Reading.load(tmp_path, cfg).windows == Windows(integers=(0, 4095))
    cfg.INPUT.WINDOW = (5, 10)
    assert Reading.load(tmp_path, cfg).windows == Windows((5, 10), (5, 10))
