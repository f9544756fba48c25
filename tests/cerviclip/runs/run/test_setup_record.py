"""``setup``: what a run has used, of our trainers and of ones that name things otherwise."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from cerviclip.report.setup import _seen_in_test
from cerviclip.runs.run.setup_record import setup_record
from dassl.config import get_cfg_default
from dassl.data.transforms import build_transform


def trainer_of(**more):
    return SimpleNamespace(**{"cfg": get_cfg_default(), "dm": None, "_models": {}} | more)


def preprocess(size, mode="bicubic"):
    return SimpleNamespace(size=(size, size), interpolation=mode, mean=[0.5] * 3, std=[0.5] * 3)


def part(size, mode):
    own = preprocess(size, mode)
    transforms = [build_transform(get_cfg_default(), is_train=t, preprocess=own) for t in (1, 0)]
    backbone = SimpleNamespace(preprocess=own)
    return SimpleNamespace(backbone=backbone, tfm_train=transforms[0], tfm_test=transforms[1])


def test_each_of_several_backbones_says_what_it_saw():
    setup = setup_record(trainer_of(parts=[part(96, "bicubic"), part(224, "bilinear")]))
    assert setup["input"]["interpolation"] == ["bicubic", "bilinear"]
    told = _seen_in_test(setup)
    assert "for backbone 1: resize the smaller edge to 96" in told
    assert "for backbone 2: resize the smaller edge to 224" in told and "bilinear" in told


def test_the_optimiser_is_the_one_that_ran_and_not_the_config_s():
    optim = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.25, weight_decay=0.5)
    optim.param_groups[0]["lr"], optim.param_groups[0]["initial_lr"] = 0.0, 0.25  # at the end
    found = setup_record(trainer_of(_optims={"head": optim}, max_epoch=7))["training"]
    wanted = {"name": "AdamW", "lr": [0.25], "weight_decay": [0.5]}
    assert found["optimizers"] == {"head": wanted} and (found["by"], found["epochs"]) == (
        "steps",
        7,
    )


def test_a_fit_and_what_trains_nothing_have_no_optimiser():
    assert setup_record(trainer_of(_optims={"head": None}))["training"] == {"by": "fit"}
    assert setup_record(trainer_of(needs_training=False))["training"] == {"by": "none"}


def test_a_trainer_written_elsewhere_breaks_nothing():
    foreign = trainer_of(parts=3, _optims={"x": object()}, max_epoch=None, tfm_test=object())
    setup = setup_record(foreign)
    assert setup["input"]["test"] == [[]] and "not recorded" in _seen_in_test(setup)
    assert setup["training"]["optimizers"]["x"]["lr"] == []


def test_a_scored_model_has_the_training_of_its_run():
    then = {"setup": {"training": {"by": "steps", "epochs": 50}}}
    assert setup_record(trainer_of(), then)["training"] == {"by": "steps", "epochs": 50}
    assert setup_record(trainer_of(), {})["training"] == {}
