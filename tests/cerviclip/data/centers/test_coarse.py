"""A centre with labels coarser than the training's, and data sets through class maps."""

from __future__ import annotations

import numpy as np
import pytest
from data_fixtures import write_herlev

from cerviclip.data.centers.coarse import NEGATIVE, POSITIVE
from cerviclip.data.centers.external import build_external_datasets
from cerviclip.evaluation.groups_only import score_groups
from cerviclip.evaluation.measures import Sample, Settings, measure
from cerviclip.evaluation.report import score
from cerviclip.runs.predictions import Predictions, read_predictions, write_predictions
from cerviclip.runs.settings.files.class_maps import fill_from_class_map
from dassl.data.datasets import build_dataset
from dassl.errors import UserError
from helpers import write_images

NAMES = ("a", "b", "c")


def test_only_binary_is_scored_and_as_in_a_many_class_centre():
    rng = np.random.default_rng(0)
    labels, probs = rng.integers(0, 3, 60), rng.dirichlet([1, 1, 1], 60)
    patients = [f"p{i // 3}" for i in range(60)]
    groups = [POSITIVE if label in (0, 2) else NEGATIVE for label in labels]
    coarse = score_groups(groups, probs, patients, NAMES, ["a", "c"])
    whole = score(labels.tolist(), probs, patients, NAMES, ["a", "c"])
    assert coarse["binary"] == whole["binary"] and coarse["n_patients"] == 20
    assert coarse["accuracy"]["value"] is None and "BINARY_MAP" in coarse["accuracy"]["reason"]
    assert coarse["confusion_matrix"] is None
    assert all(row["f1"]["value"] is None for row in coarse["per_class"].values())


def test_predictions_of_groups_are_read_back(tmp_path):
    labels, probs = np.array([POSITIVE, NEGATIVE]), np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    p = Predictions("far", ["x", "y"], ["1", "2"], labels, probs, NAMES)
    write_predictions(tmp_path, [p], NAMES)
    (back,) = read_predictions(tmp_path)
    assert back.labels.tolist() == [POSITIVE, NEGATIVE]


def center(make_cfg, root, folder, **options):
    cfg = make_cfg(root, "MixedCenterOCT", EXTERNAL_FOLDERS={"far": folder}, **options)
    cfg.freeze()
    return build_external_datasets(cfg, build_dataset(cfg))["far"]


def test_a_binary_map_gives_groups_and_what_it_lacks_is_refused(make_cfg, oct_root):
    write_images(oct_root / "far", {"ill": 3, "well": 4, "cyst": 2, "odd": 1}, patients=9, seed=5)
    with pytest.raises(UserError, match="BINARY_MAP"):
        center(make_cfg, oct_root, "far")
    groups = {"ill": "positive", "well": "Negative", "odd": ""}
    labels = [item.label for item in center(make_cfg, oct_root, "far", BINARY_MAP=groups)]
    assert labels.count(POSITIVE) == 3 and labels.count(NEGATIVE) == 6  # a cyst is no lesion
    with pytest.raises(UserError, match="positive or negative"):
        center(make_cfg, oct_root, "far", BINARY_MAP={"ill": "maybe"})


@pytest.mark.parametrize("name, n", [("normal_abnormal", 2), ("bethesda", 3)])
def test_class_maps_of_the_project_train_and_map(make_cfg, tmp_path, name, n):
    write_herlev(tmp_path / "herlev")
    cfg = make_cfg(tmp_path, "Herlev", CLASS_MAP_FILE=name)
    fill_from_class_map(cfg)
    data = build_dataset(cfg)
    assert data.num_classes == n and data.positive_classes and data.descriptions
    count = sum(len(part) for part in (data.train_x, data.val, data.test))
    assert count == 7 * 4 * 2 and cfg.DATASET.CLASS_MAP_FILE == ""


def test_a_map_that_contradicts_itself_is_refused(make_cfg, tmp_path):
    for text, words in (
        ("classes: [a, b]\nmaps: {X: {x: c}}", "not among"),
        ("classes: [a, b]\nmaps: {X: {x: a}, Y: {x: b}}", 'maps "x" to'),
        ("classes: [a]", "needs two"),
    ):
        (tmp_path / "m.yaml").write_text(text)
        cfg = make_cfg(tmp_path, "Herlev", CLASS_MAP_FILE=str(tmp_path / "m.yaml"))
        with pytest.raises(UserError, match=words):
            fill_from_class_map(cfg)


def test_a_coarse_centre_is_measured_by_its_group_alone():
    """Thresholds of home hold there as for a centre that knows the classes; classes say nothing."""
    rng = np.random.default_rng(1)
    labels, probs = np.repeat(rng.integers(0, 3, 20), 4), rng.dirichlet([1, 1, 1], 80)
    patients, positive = [f"p{i // 4}" for i in range(80)], ["a", "c"]
    groups = np.where(np.isin(labels, [0, 2]), POSITIVE, NEGATIVE)
    val = Sample.of("val", labels, probs[::-1], patients, NAMES, positive)

    def blocks(far, entry):
        samples = [Sample.of("far", far, probs, patients, NAMES, positive)]
        return measure(val, samples, {"test": entry, "far": entry}, Settings())

    of = (probs, patients, NAMES, positive)
    whole = blocks(labels, score(labels.tolist(), *of))
    coarse = blocks(groups, score_groups(groups.tolist(), *of))
    assert coarse["operating_points"] == whole["operating_points"]
    for name in ("discrimination", "calibration", "conformal"):
        block = coarse[name]["far"] if name == "discrimination" else coarse[name]["centers"]["far"]
        assert "BINARY_MAP" in block["reason"]
    entry = coarse["patient_level"]["centers"]["far"]
    assert entry["confusion_matrix"] is None and entry["binary"]["auc"]["value"] is not None
