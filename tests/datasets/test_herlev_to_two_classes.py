"""Herlev's seven classes scored on another laboratory's normal and abnormal nuclei.

The other laboratory is a stand-in: the two-class nuclei that are to be had have no known origin.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from data_fixtures import write_herlev
from sklearn.metrics import roc_auc_score

from cerviclip.data.coarse import NEGATIVE, POSITIVE
from cerviclip.data.external import build_external_datasets
from cerviclip.data.images import cache as image_cache
from cerviclip.runs.predictions import read_predictions
from cerviclip.runs.run import command
from dassl.data.datasets import build_dataset
from dassl.errors import UserError, cli_main
from helpers import write_images

NUCLEI = {"Normal": 6, "Abnormal": 9}
GROUPS = {"Normal": "negative", "Abnormal": "positive"}


def write_laboratories(root):
    write_herlev(root / "herlev")
    write_images(root / "other_lab", {**NUCLEI, "Artefact": 2}, patients=5, size=24, seed=4)


@pytest.mark.filterwarnings("ignore:lab. not all file names hold a patient:UserWarning")
def test_seven_classes_meet_two_by_a_binary_map_alone(make_cfg, tmp_path):
    write_laboratories(tmp_path)
    centers = {"EXTERNAL_FOLDERS": {"lab": "other_lab"}}
    cfg = make_cfg(tmp_path, "Herlev", **centers, BINARY_MAP={**GROUPS, "Artefact": ""})
    data = build_dataset(cfg)
    items = build_external_datasets(cfg, data)["lab"]
    assert data.num_classes == 7 and len(data.positive_classes) == 4
    labels = [item.label for item in items]
    assert labels.count(NEGATIVE) == NUCLEI["Normal"]
    assert labels.count(POSITIVE) == NUCLEI["Abnormal"] and len(labels) == 15
    for groups in ({}, {"Normal": "negative"}):
        cfg = make_cfg(tmp_path, "Herlev", **centers, BINARY_MAP=groups)
        with pytest.raises(UserError, match="BINARY_MAP"):
            build_external_datasets(cfg, build_dataset(cfg))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_run_on_seven_classes_is_scored_there_by_its_positive_group(tmp_path):
    write_laboratories(tmp_path)
    out = tmp_path / "run"
    argv = ["--dataset", "Herlev", "--root", str(tmp_path), "--trainer", "LinearProbe"]
    argv += ["--backbone", "PhantomCLIP", "--shots", "2", "--output-dir", str(out)]
    groups = {**GROUPS, "Artefact": ""}
    argv += [
        "DATASET.EXTERNAL_FOLDERS",
        "{lab: other_lab}",
        "DATASET.BINARY_MAP",
        json.dumps(groups),
    ]
    try:
        assert cli_main(command.main, argv) == 0
    finally:
        image_cache.disable()
    results = json.loads((out / "results.json").read_text())
    lab = results["centers"]["lab"]
    assert lab["n_images"] == 15 and lab["accuracy"]["value"] is None
    assert len(results["centers"]["test"]["per_class"]) == 7
    found = {p.center: p for p in read_predictions(out)}["lab"]
    names = list(results["centers"]["test"]["per_class"])
    positive = np.isin(names, results["positive_classes"])
    truth = found.labels == POSITIVE
    share = np.asarray(found.probs)[:, positive].sum(axis=1)
    said = positive[np.asarray(found.probs).argmax(axis=1)]
    binary = lab["binary"]
    assert binary["auc"]["value"] == pytest.approx(roc_auc_score(truth, share), abs=1e-4)
    assert binary["sensitivity"]["value"] == pytest.approx(100 * said[truth].mean())
    assert binary["specificity"]["value"] == pytest.approx(100 * (~said[~truth]).mean())
