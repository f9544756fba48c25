"""Sweeps over folds: runs of their own, and their scores pooled."""

import json

import pytest
from run_fixtures import all_results
from run_fixtures import run_sweep as run

from helpers import write_images


@pytest.fixture
def folded(zoo):
    """A sweep over three folds of a data set of class folders, and its flags."""
    write_images(zoo.root / "cells", {"a": 18, "b": 18, "c": 18}, patients=6, size=8)
    opts = r"DATASET.FOLDER cells DATASET.PATIENT_PATTERN (P\d{7}) DATASET.POSITIVE ('a',)"
    flags = ["--datasets", "FolderDataset", "--opts", "TEST.EXTERNAL", "[]", *opts.split()]
    text = "trainers: [ZooConstant, ZooLinear]\nshots: [2]\nseeds: [1, 2]\nfolds: 3\n"
    assert run(zoo, text, *flags) == 0
    return zoo, text, flags


def test_folds_are_runs_of_their_own_and_pooled_beside_them(folded, capsys):
    zoo, text, flags = folded
    capsys.readouterr()
    assert {name.rpartition("/shots")[0] for name in all_results(zoo.out)} == {
        f"FolderDataset/{trainer}/none/default-fold{n}of3"
        for trainer in ("ZooConstant", "ZooLinear")
        for n in (1, 2, 3)
    }
    pooled = json.loads((zoo.out / "pooled.json").read_text())["pooled"]
    assert [(e["trainer"], e["shots"], e["folds"], e["seed"]) for e in pooled] == [
        ("ZooConstant", 0, 3, 0), ("ZooLinear", 2, 3, 1), ("ZooLinear", 2, 3, 2)
    ]  # fmt: skip
    for entry in pooled:
        assert (entry["score"]["n_images"], entry["score"]["n_patients"]) == (54, 18)
        assert entry["score"]["binary"]["auc"]["value"] is not None
    written = (zoo.out / "results.md").read_text()
    assert "test, pooled" in written
    titles = [line for line in written.splitlines() if line.startswith("### ")]
    assert (
        len(titles) == len(set(titles))
        and "### FolderDataset: accuracy (%), folds pooled" in titles
    )
    before = (zoo.out / "pooled.json").read_bytes()
    assert run(zoo, text, *flags) == 0
    printed = capsys.readouterr().out
    assert "all 9 chosen runs of sweep zoo are finished" in printed and "test, pooled" in printed
    assert (zoo.out / "pooled.json").read_bytes() == before


def test_a_sweep_without_folds_leaves_no_old_pooled_scores(folded):
    zoo, text, flags = folded
    assert run(zoo, text.replace("folds: 3\n", ""), *flags) == 0
    assert not (zoo.out / "pooled.json").exists()
