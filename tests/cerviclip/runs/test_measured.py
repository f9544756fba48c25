"""Measures of a run's folder: the same from its files as in its results, and with other wishes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from measures_fixtures import CLASSES, POSITIVE, make_sample
from run_fixtures import whole_results

from cerviclip.evaluation.measures import Settings
from cerviclip.evaluation.names import BLOCKS
from cerviclip.runs.measured import (
    NO_VAL_FILE,
    VAL_IS_TESTED,
    measure_files,
    measure_predictions,
    read_val,
    settings_of,
)
from cerviclip.runs.predictions import VAL_PREDICTIONS, Predictions, write_predictions
from cerviclip.runs.results_json import write_results
from dassl.config import get_cfg_default
from dassl.errors import MissingFileError


def predictions_of(center, seed):
    sample = make_sample(center, patients=20, images=2, seed=seed)
    paths = [f"{center}/{i}.png" for i in range(len(sample))]
    ids = [f"P{n}" for n in sample.patients]
    return Predictions(center, paths, ids, sample.labels, sample.probs, CLASSES)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with its blocks."""
    folder = tmp_path_factory.mktemp("run")
    val, test, far = (predictions_of(c, k) for k, c in enumerate(("val", "test", "Far")))
    write_predictions(folder, [test, far], CLASSES)
    write_predictions(folder, [val], CLASSES, VAL_PREDICTIONS)
    settings = Settings(patient_rule="max", miss_cost=3.0, order=CLASSES)
    blocks = measure_predictions(val, [test, far], POSITIVE, {}, settings)
    write_results(folder, whole_results(**blocks, positive_classes=list(POSITIVE)))
    return folder, blocks


def test_the_files_alone_give_the_same_blocks(run):
    folder, blocks = run
    again = measure_files(folder)
    assert tuple(again) == BLOCKS and json.dumps(again) == json.dumps(blocks)
    assert again["patient_level"]["rule"] == "max"


def test_another_cost_moves_its_own_point_alone(run):
    folder, blocks = run
    again = measure_files(folder, Settings(patient_rule="max", miss_cost=300.0, order=CLASSES))
    one, two = (b["operating_points"]["points"] for b in (blocks, again))
    assert two["cost"]["threshold"] < one["cost"]["threshold"]
    assert two["youden"] == one["youden"]


def test_a_run_without_val_file_says_so(run, tmp_path):
    folder, _ = run
    for name in ("predictions.csv", "results.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    found = measure_files(tmp_path)
    assert found["operating_points"]["reason"] == found["conformal"]["reason"] == NO_VAL_FILE
    with pytest.raises(MissingFileError, match=r"no results\.json"):
        measure_files(tmp_path / "elsewhere")


def test_an_evaluation_of_val_chooses_no_threshold_on_it(run, tmp_path):
    folder, _ = run
    (tmp_path / "results.json").write_bytes((folder / "results.json").read_bytes())
    write_predictions(tmp_path, [predictions_of("val", 0)], CLASSES)
    assert measure_files(tmp_path)["operating_points"]["reason"] == VAL_IS_TESTED
    write_predictions(tmp_path, [predictions_of(c, 0) for c in ("val", "Far")], CLASSES)
    assert measure_files(tmp_path)["operating_points"]["reason"] == NO_VAL_FILE


def test_a_val_file_without_images_is_none(tmp_path):
    write_predictions(tmp_path, [], CLASSES, VAL_PREDICTIONS)
    assert read_val(tmp_path) is None
    write_predictions(tmp_path, [predictions_of("val", 0)], CLASSES, VAL_PREDICTIONS)
    assert read_val(tmp_path).center == "val"


def test_every_setting_is_the_configurations():
    cfg = get_cfg_default()
    cfg.TEST.PATIENT_RULE, cfg.TEST.MISS_COST, cfg.TEST.COVERAGE = "max", 7.0, 0.8
    cfg.TEST.PREVALENCES = (0.1, 0.3)
    assert settings_of(cfg, object()) == Settings(
        patient_rule="max", miss_cost=7.0, prevalences=(0.1, 0.3), coverage=0.8
    )


@pytest.mark.parametrize(
    "levels", [None, "two", {"a": ("A", "a"), "b": ("b",)}, {"a": ("A", 1)}, {"a": "Aa"}, {}]
)
def test_what_is_no_tree_of_one_depth_is_none(levels):
    declares = type("Declares", (), {"levels": levels})
    assert settings_of(get_cfg_default(), declares()).levels == {}


def test_settings_come_from_the_configuration_and_the_data_set():
    cfg = get_cfg_default()
    assert settings_of(cfg, object()) == Settings()

    class Declares:
        class_order = ("a", "b")
        levels = {"a": ("A", "a"), "b": ("A", "b")}

    class MeansSomethingElse:
        levels = {"a": ("A", "a"), "b": 3}

    found = settings_of(cfg, Declares())
    assert found.order == ("a", "b") and found.levels == {"a": ["A", "a"], "b": ["A", "b"]}
    assert settings_of(cfg, MeansSomethingElse()).levels == {}
    assert np.isfinite(found.prevalences).all()
