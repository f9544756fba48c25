"""A run's identity: the same from its configuration, in its folder and in its results."""

import hashlib
import json
from dataclasses import replace

import pytest

from cerviclip.plugins import ensure_loaded
from cerviclip.runs.report.groups import load_runs
from cerviclip.runs.results_json import read_results
from cerviclip.runs.run.runner import run_one
from cerviclip.runs.settings.configure import setup_cfg
from cerviclip.runs.settings.run_key import Repeat, RunKey, shots_of, shots_order, shots_words
from dassl.config import get_cfg_default
from dassl.errors import UserError

KEY = RunKey("PhantomOCT", "CoOp", "ViT-B/16", "default", 16, "", 1)


@pytest.mark.parametrize(
    "changes, folder",
    [
        ({}, "PhantomOCT/CoOp/ViT-B-16/default/shots_16/seed_1"),
        ({"fold": "3/10"}, "PhantomOCT/CoOp/ViT-B-16/default-fold3of10/shots_16/seed_1"),
        (
            {"fold": "3/10@2"},
            "PhantomOCT/CoOp/ViT-B-16/default-fold3of10repeat2/shots_16/seed_1",
        ),
        (
            {"backbone": "open_clip:a b", "variant": "lr 0.1", "shots": "full", "seed": 3},
            "PhantomOCT/CoOp/open_clip-a-b/lr-0.1/shots_full/seed_3",
        ),
        ({"backbone": "", "shots": 0, "seed": 0}, "PhantomOCT/CoOp/none/default/shots_0/seed_0"),
    ],
)
def test_folder_is_the_contracts(changes, folder):
    assert replace(KEY, **changes).folder("output").as_posix() == f"output/{folder}"


@pytest.mark.parametrize(
    "changes, title",
    [
        ({}, "CoOp on PhantomOCT, shots 16, seed 1"),
        (
            {"variant": "lr1", "fold": "3/10"},
            "CoOp (lr1) on PhantomOCT, shots 16, fold 3/10, seed 1",
        ),
        ({"shots": 0, "seed": 0}, "CoOp on PhantomOCT"),
        ({"shots": 0, "seed": 0, "fold": "1/5"}, "CoOp on PhantomOCT, fold 1/5"),
    ],
)
def test_title_says_what_tells_runs_apart(changes, title):
    assert replace(KEY, **changes).title == title


def test_runs_of_one_cell_differ_in_fold_and_seed_alone():
    cell = replace(KEY, fold="3/10").cell
    assert cell == replace(KEY, fold="10/10", seed=7).cell
    others = [{"fold": ""}, {"fold": "3/5"}, {"fold": "3/10", "shots": 1},
              {"fold": "3/10", "variant": "x"}]  # fmt: skip
    assert all(replace(KEY, **changes).cell != cell for changes in others)
    assert cell.row == ("CoOp", "default", "ViT-B/16", 10)


def test_repeats_are_ordered_by_number_and_named_in_words():
    repeats = [Repeat("10/10", 1), Repeat("2/10", 2), Repeat("2/10", 1)]
    ordered = sorted(repeats, key=lambda repeat: repeat.order)
    assert [str(repeat) for repeat in ordered] == [
        "fold 2/10 seed 1", "fold 2/10 seed 2", "fold 10/10 seed 1",
    ]  # fmt: skip
    assert str(Repeat("", 5)) == "5"
    assert Repeat("10/10", 1).order < Repeat("1/10@2", 1).order


def test_full_is_more_than_any_number_of_shots():
    assert sorted(["full", 16, 0, 4], key=shots_order) == [0, 4, 16, "full"]


def test_a_backbone_of_a_local_file_is_named_by_its_hash(tmp_path):
    """Of a file of weights, and of one in the name."""
    cfg = get_cfg_default()
    cfg.MODEL.BACKBONE.NAME = "ViT-B/16"
    assert RunKey.of(cfg).backbone == "ViT-B/16"
    file = tmp_path / "w.pt"
    file.write_bytes(b"weights")
    start = hashlib.sha256(b"weights").hexdigest()[:8]
    cfg.MODEL.BACKBONE.NAME = f"open_clip:ViT-B-16:{file}"
    assert RunKey.of(cfg).backbone == f"open_clip:ViT-B-16-{start}"
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.INIT_WEIGHTS = "ViT-B/16", str(file)
    assert RunKey.of(cfg).backbone == f"ViT-B/16-{start}"


def test_shots_are_named():
    assert [shots_of(k) for k in (-1, 0, 16)] == ["full", 0, 16]


@pytest.fixture
def folds(zoo, monkeypatch):
    """The zoo's data set says that it splits into folds."""
    zoo.cfg()  # loads the plug-in
    cls = ensure_loaded("dataset", "ZooMain")
    monkeypatch.setattr(cls, "splits_into_folds", True, raising=False)


@pytest.mark.parametrize("fold", ["", "3/10"])
def test_configuration_folder_and_results_agree(zoo, folds, fold):
    asked = zoo.asked("ZooLinear", "2", "--seed", "4", "--variant", "lr 1", DATASET__FOLD=fold)
    cfg = setup_cfg(replace(asked, output_root=zoo.out))
    key = RunKey.of(cfg, "lr 1")
    assert key == RunKey("ZooMain", "ZooLinear", "", "lr 1", 2, fold, 4)
    assert cfg.OUTPUT_DIR == str(key.folder(zoo.out))
    results = run_one(cfg, variant="lr 1", echo=False)
    assert RunKey.of_results(results) == key
    [loaded] = load_runs(zoo.out)
    assert RunKey.of_results(loaded) == key and loaded["folder"] == str(key.folder(zoo.out))
    written = json.loads((key.folder(zoo.out) / "results.json").read_text())
    assert written["schema_version"] == 2 and written["fold"] == fold
    assert run_one(cfg, variant="lr 1", echo=False) == results  # finished: read, not run again


def test_a_failed_fold_says_which_one_it_was(zoo, folds):
    cfg = zoo.cfg("ZooBroken", DATASET__FOLD="2/5")
    with pytest.raises(RuntimeError):
        run_one(cfg, echo=False)
    results = read_results(zoo.out / "run")
    assert results["status"] == "failed" and RunKey.of_results(results) == RunKey.of(cfg)


def test_a_fold_of_what_does_not_split_into_folds_is_refused(zoo):
    with pytest.raises(UserError, match="DATASET.FOLD is 3/10, but ZooMain does not split"):
        zoo.cfg(DATASET__FOLD="3/10")
    with pytest.raises(UserError, match="at least 2"):
        zoo.cfg(DATASET__FOLD="1/1")


def test_shots_in_a_sentence():
    assert [shots_words(k) for k in (1, 16, "full")] == ["1 shot", "16 shots", "all images"]
