"""Every trainer through train.main, and what must hold for each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cerviclip.places import CONFIGS
from cerviclip.plugins import discover

SMALL = ("TRAIN.MAX_ITERS", "3")
CNN = {"backbone": "torchvision:squeezenet1_0", "opts": ("INPUT.SIZE", "(64,64)")}
CASES = {
    "ZeroShotCLIP": ((), {"shots": 0}),
    "ZeroshotCLIP": ((), {"shots": 0}),
    "LinearProbe": ((), {}),
    "TipAdapter": ((), {}),
    "TipAdapterF": ((), {}),
    "CoOp": (("TRAINER.COOP.N_CTX", "4"), {}),
    "CLIPLoRA": (SMALL, {}),
    "SAVLT": ((*SMALL, "TRAINER.SAVLT.CONSISTENCY.WEIGHT", "1.0"), {}),
    "CNNBaseline": (
        ("INPUT.SIZE", "(64,64)", "MODEL.BACKBONE.PRETRAINED", "False"),
        {"backbone": "torchvision:squeezenet1_0"},
    ),
}


def own_trainers() -> list[str]:
    return [n for n, e in discover()["trainer"].items() if Path(e.source).parent.name == "trainers"]


def test_every_trainer_of_the_project_has_a_case():
    assert sorted(own_trainers()) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_trains_and_its_saved_model_predicts_the_same(name, run, evaluate):
    opts, kwargs = CASES[name]
    folder, results = run(name, *opts, **kwargs)
    assert results["status"] == "done"
    assert results["test_read_early"] is False
    assert 0 <= results["centers"]["test"]["accuracy"]["value"] <= 100
    assert evaluate(folder) == (folder / "predictions.csv").read_text()


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("ZeroshotCLIP", "CNNBaseline")])
def test_leaves_the_shared_backbone_as_it_was(name, build):
    opts, kwargs = CASES[name]
    trainer = build(name, *opts, **kwargs)
    before = trainer.backbone.fingerprint()
    trainer.train()
    assert trainer.backbone.fingerprint() == before


def trainer_yamls() -> list[Path]:
    """Settings of the trainers of this folder; the engine's own are tested with the engine."""
    every = sorted((CONFIGS / "trainers").glob("*/*.yaml"))
    return [path for path in every if path.parent.name in CASES]


def test_there_are_yamls_for_every_trainer():
    folders = {path.parent.name for path in trainer_yamls()}
    assert folders == set(CASES) - {"ZeroshotCLIP"}


def test_settings_borrowed_from_another_backbone_leave_its_precision(flags):
    from cerviclip.runs.settings.configure import setup_cfg
    from cerviclip.runs.settings.flags import run_request, train_parser

    def prec(*more: str) -> str:
        cfg = setup_cfg(run_request(train_parser().parse_args([*flags("CLIPLoRA"), *more])))
        return cfg.TRAINER.CLIPLORA.PREC

    assert prec() == "fp32"
    assert prec("TRAINER.CLIPLORA.PREC", "bf16") == "bf16"


@pytest.mark.parametrize("path", trainer_yamls(), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_yaml_merges_and_opens_with_its_command(path, flags, tmp_path):
    from cerviclip.runs.settings.configure import setup_cfg
    from cerviclip.runs.settings.flags import run_request, train_parser

    name = path.parent.name
    first = path.read_text().splitlines()[0]
    assert first.startswith(f"# python train.py --trainer {name} ")
    assert yaml.safe_load(path.read_text())
    opts, kwargs = CASES[name]
    arguments = flags(name, *opts, **kwargs, config=path)
    cfg = setup_cfg(run_request(train_parser().parse_args(arguments)))
    assert cfg.TRAINER.NAME == name
