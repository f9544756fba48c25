"""A run's numbers depend on its configuration alone, for every trainer of the project.

Each trainer runs in one sweep with all the others, then in the opposite order with every cache of
the process emptied and the feature store warm; all results must be equal to the last digit.
"""

import json

import pytest
from cases import SAMPLE, registered, trainer_cases

import run_shell
from cerviclip import plugins
from cerviclip.data.images import cache as image_cache
from cerviclip.engine import vlm_trainer
from cerviclip.recent import Recent
from cerviclip.runs.jobs.executors import InProcess
from cerviclip.runs.settings.folders import find_results
from cerviclip.vlm import clear_backbones
from dassl.config import get_cfg_default
from dassl.errors import cli_main
from helpers import tiny_clip_state_dict, write_images

SHORT = {
    "DATALOADER.NUM_WORKERS": 0,
    "DATALOADER.TRAIN_X.BATCH_SIZE": 4,
    "OPTIM.MAX_EPOCH": 2,
    "TRAIN.MAX_ITERS": 2,
    "MODEL.BACKBONE.PRETRAINED": False,
    "DATASET.FOLDER": "cells",
    "DATASET.PATIENT_PATTERN": r"(P\d{7})",
    "DATASET.POSITIVE": ["red"],
    "DATASET.EXTERNAL_FOLDERS": {"Elsewhere": "elsewhere"},
    "INPUT.TRANSFORMS": ["random_resized_crop", "random_flip", "normalize"],
}


def precision_of(name):
    """fp32, for a trainer that has the choice: this CPU may know no other."""
    module = plugins.ensure_loaded("trainer", name).__module__
    cfg = get_cfg_default()
    plugins.extend_cfg_of(module)(cfg)
    section = cfg.TRAINER.get(name.upper(), {})
    return {f"TRAINER.{name.upper()}.PREC": "fp32"} if "PREC" in section else {}


ALL = pytest.param("all", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=["sample", ALL])
def names(request):
    """The trainers of the sweep: one of each kind, or every one."""
    every = set(registered("trainer"))
    assert set(SAMPLE) <= every
    return every if request.param == "all" else set(SAMPLE)


@pytest.fixture(scope="module")
def world(tmp_path_factory, names):
    """Images of two centres, a tiny CLIP and a sweep over the trainers."""
    import torch
    import yaml

    root = tmp_path_factory.mktemp("world")
    write_images(root / "cells", dict.fromkeys(("red", "green", "blue"), 20), patients=10)
    write_images(root / "elsewhere", {"red": 6, "blue": 6}, patients=3, seed=9)
    torch.save(tiny_clip_state_dict(), root / "clip.pt")
    entries = []
    for name, case in trainer_cases().items():
        if name not in names:
            continue
        # The yaml files that apply are those for real backbones: the case's opts take them back.
        opts = dict(zip(case.opts[::2], case.opts[1::2], strict=True)) | precision_of(name)
        entry = {"trainer": name, "backbone": case.backbone, "opts": opts}
        weights = {"weights": str(root / "clip.pt")} if case.backbone == "CLIP" else {}
        entries.append(entry | weights)
    plan = {"datasets": ["FolderDataset"], "trainers": entries, "shots": [2], "seeds": [3]}
    (root / "all.yaml").write_text(yaml.safe_dump(plan | {"opts": SHORT}))
    return root


def forget_everything(monkeypatch, cache):
    """As if the process had just begun, on a machine without a feature store."""
    monkeypatch.setenv("CERVICLIP_CACHE", str(cache))
    monkeypatch.setattr(vlm_trainer, "_TEXT_MEMO", Recent(64))
    clear_backbones()
    image_cache.disable()


def numbers(folder):
    found = {}
    for path in find_results(folder):
        results = json.loads(path.read_text())
        assert results["status"] == "done", results["error"]
        del results["runtime"]
        found[results["trainer"]] = results, (path.parent / "predictions.csv").read_bytes()
    return found


def run_sweep(world, out):
    argv = ["--sweep", str(world / "all.yaml"), "--root", str(world), "--output-dir", str(out)]
    assert cli_main(run_shell.main, argv) == 0
    return numbers(out)


def test_order_company_and_caches_change_no_number(world, names, tmp_path, monkeypatch):
    forget_everything(monkeypatch, tmp_path / "cache")
    first = run_sweep(world, tmp_path / "first")
    assert first and set(first) == names

    in_order = InProcess.run
    monkeypatch.setattr(
        InProcess, "run", lambda self, jobs, started: in_order(self, jobs[::-1], started)
    )
    # The store on disk stays: what comes from it must equal what was fresh.
    forget_everything(monkeypatch, tmp_path / "cache")
    second = run_sweep(world, tmp_path / "second")
    for name in first:
        assert first[name] == second[name], name
