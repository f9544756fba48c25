"""An evaluation never tests on what the run has learned from."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cerviclip.runs.run.testing.trained_on import TrainedOn
from dassl.config import get_cfg_default
from dassl.data.datasets.base_dataset import Datum
from dassl.errors import UserError

LISTS = {"train": {"a/0.png": "P0"}, "val": {"a/1.png": "P1"}, "test": {"a/2.png": "P2"}}


@pytest.fixture
def place(tmp_path):
    """A data folder of six different pictures, and a run's folder with its split.json."""
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    for n in range(6):
        pixels = np.random.default_rng(n).integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / "a" / f"{n}.png")
    record = {
        part: [{"path": path, "label": 0, "patient": who} for path, who in rows.items()]
        for part, rows in LISTS.items()
    }
    (tmp_path / "run" / "split.json").write_text(json.dumps({"by": "patient", **record}))
    return tmp_path


def learned(place, now="data", **lists) -> tuple[TrainedOn, SimpleNamespace]:
    """What the run has learned from, and a data set of today with such parts."""
    root = place / now
    parts = {
        part: [Datum(str(root / path), 0, 0, "a", who) for path, who in lists.get(part, {}).items()]
        for part in ("train_x", "val", "test")
    }
    dataset = SimpleNamespace(root=str(root), train_u=[], patients_known=True, **parts)
    cfg = get_cfg_default()
    cfg.DATASET.ROOT = str(root)
    return TrainedOn.of(place / "run", str(place / "data"), cfg, dataset), dataset


def test_own_test_images_and_new_ones_pass(place):
    run, dataset = learned(place, test={"a/2.png": "P2", "a/3.png": "P3"}, val={"a/4.png": "P4"})
    run.check(dataset)


@pytest.mark.parametrize("path", ["a/0.png", "a/1.png"])
def test_images_of_train_and_val_are_refused_with_their_number(place, path):
    run, dataset = learned(place, test={path: "P9", "a/2.png": "P2"})
    with pytest.raises(UserError, match=r"of the 2 test images now, 1 were trained .*--split"):
        run.check(dataset)


def test_a_patient_who_was_trained_on_is_refused(place):
    run, dataset = learned(place, test={"a/3.png": "P0", "a/4.png": "P1"})
    with pytest.raises(UserError, match="2 are of patients that were"):
        run.check(dataset)
    dataset.patients_known = False
    run.check(dataset)


def test_a_run_split_by_image_says_nothing_of_patients(place):
    run, dataset = learned(place, test={"a/3.png": "P0"})
    run.record["by"] = "image"
    run.check(dataset)


def test_val_that_is_scored_may_be_the_runs_val_and_not_its_train(place):
    run, dataset = learned(place, val={"a/1.png": "P1"}, test={"a/0.png": "P0"})
    run.check(dataset, tested_on="val")
    run, dataset = learned(place, val={"a/0.png": "P0"})
    with pytest.raises(UserError, match="1 val images now, 1 were trained"):
        run.check(dataset, tested_on="val")


def test_a_copy_under_another_name_and_elsewhere_is_found(place):
    shutil.copytree(place / "data", place / "moved")
    shutil.copy(place / "data/a/0.png", place / "moved/a/9.png")
    run, dataset = learned(place, "moved", test={"a/9.png": ""})
    with pytest.raises(UserError, match=r"1 were trained .*a/9\.png"):
        run.check(dataset)
    run, dataset = learned(place, "moved", test={"a/0.png": ""})
    with pytest.raises(UserError, match="1 were trained"):
        run.check(dataset)


def test_another_picture_of_the_same_name_is_another_image(place):
    shutil.copytree(place / "data", place / "other")
    shutil.copy(place / "data/a/5.png", place / "other/a/0.png")
    run, dataset = learned(place, "other", test={"a/0.png": ""})
    run.check(dataset)


def test_a_name_counts_where_the_old_data_are_gone(place):
    (place / "data").rename(place / "moved")
    run, dataset = learned(place, "moved", test={"a/0.png": ""})
    with pytest.raises(UserError, match="1 were trained"):
        run.check(dataset)


def test_centers_are_compared_with_the_runs_own_images(place):
    shutil.copytree(place / "data", place / "clinic")
    run, _ = learned(place)
    centre = [Datum(str(place / "clinic/a/0.png"), 0, 0, "a", "X")]
    with pytest.raises(UserError, match="external centre B: 1 of its 1 images"):
        run.check_centers({"B": centre})
    run.check_centers({"B": [Datum(str(place / "clinic/a/5.png"), 0, 0, "a", "X")]})


def test_the_evaluations_split_names_what_was_learned_from(place):
    run, _ = learned(place)
    (place / "split.json").write_text(json.dumps({"train": [], "val": [], "test": [1]}))
    run.write_split(place)
    written = json.loads((place / "split.json").read_text())
    assert [row["path"] for row in written["train"]] == ["a/0.png"]
    assert [row["path"] for row in written["val"]] == ["a/1.png"] and written["test"] == [1]


def test_a_broken_record_is_refused_and_an_absent_one_says_nothing(place):
    (place / "run/split.json").write_text('{"train": [1]}')
    with pytest.raises(UserError, match="cannot be read"):
        learned(place)
    (place / "run/split.json").unlink()
    run, dataset = learned(place, test={"a/0.png": ""})
    run.check(dataset)
    assert run.record == {}
