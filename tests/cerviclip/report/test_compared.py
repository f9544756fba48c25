"""All methods side by side: of runs in folds also the scores of their predictions together."""

import json
import shutil

import pytest
from run_fixtures import Zoo, run_sweep

from cerviclip import plugins
from cerviclip.report import study
from cerviclip.report.command import main
from cerviclip.runs.report.pooled import POOLED
from dassl.errors import UserError
from helpers import write_images

SWEEP = "trainers: [ZooConstant, ZooLinear]\nshots: [2]\nseeds: [1]\nfolds: 3\n"


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """Output folder of a sweep over three folds."""
    plugins.reset_plugins()
    zoo = Zoo(tmp_path_factory.mktemp("folded"))
    write_images(zoo.root / "cells", {"a": 18, "b": 18, "c": 18}, patients=6, size=8)
    opts = r"DATASET.FOLDER cells DATASET.PATIENT_PATTERN (P\d{7}) DATASET.POSITIVE ('a',)"
    flags = ["--datasets", "FolderDataset", "--opts", "TEST.EXTERNAL", "[]", *opts.split()]
    assert run_sweep(zoo, SWEEP, *flags) == 0
    yield zoo.out
    plugins.reset_plugins()


def draft(folder, out):
    assert main([str(folder), "--out", str(out)]) == 0
    return out.read_text()


def test_folds_are_put_together_as_pooled_json_has_them(folded, tmp_path):
    text = draft(folded, tmp_path / "draft.md")
    table = text.split("FolderDataset: accuracy (%), folds pooled")[1].split("**Table")[0]
    scores = json.loads((folded / POOLED).read_text())["pooled"]
    for entry in scores:
        accuracy = entry["score"]["accuracy"]
        value = f"{accuracy['value']:.1f} [{accuracy['low']:.1f}, {accuracy['high']:.1f}]"
        assert f"| {entry['trainer']} | {value} |" in table
    assert "out-of-fold predictions of 3 folds put together" in table
    assert "not put together" not in text


def test_methods_that_cannot_be_paired_do_not_cost_the_draft(folded, tmp_path, monkeypatch):
    """Runs of a federation's centres, each of a split of its own, may lie below the folder."""

    def refuse(*_):
        raise UserError("runs of test are on different splits")

    monkeypatch.setattr(study, "compare", refuse)
    text = draft(folded, tmp_path / "draft.md")
    assert "The methods are not compared in pairs: runs of test are on different splits." in text


def test_folds_that_lack_a_run_are_named(folded, tmp_path):
    folder = shutil.copytree(folded, tmp_path / "out")
    lost = next(folder.rglob("ZooLinear/none/default-fold2of3/**/results.json"))
    shutil.rmtree(lost.parent)
    text = draft(folder, tmp_path / "draft.md")
    assert "Folds that are not put together:" in text
    assert "- ZooLinear, 2 shots, seed 1: no finished run of 1 fold (2)" in text
