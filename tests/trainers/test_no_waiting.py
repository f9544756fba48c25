"""Training steps never read a value back from the device that computes it.

The device here is torch's ``meta``, which has shapes and no values: whatever would make the host
wait for a GPU (``item()``, ``float()``, ``if tensor``, ``nonzero``, a boolean index, ``cpu()``)
fails on it. Batches come from the loaders, whose tensors are on the CPU as they are in a real run.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import partialmethod
from unittest.mock import patch

import pytest
import torch
from cases import trainer_cases

from cerviclip.engine.fit_once import FitOnce
from cerviclip.features.encode import FrozenEncoder
from cerviclip.plugins import ensure_loaded
from cerviclip.vlm.base import TextTower
from dassl.engine.progress import EpochProgress
from dassl.optim import build_optimizer

META = torch.device("meta")

CASES = {
    f"{name}, {title}": (name, *opts)
    for name, case in trainer_cases().items()
    for title, opts in case.steps.items()
}


def test_every_trainer_that_takes_steps_says_which():
    assert len(CASES) > 5
    for name, case in trainer_cases().items():
        kind = ensure_loaded("trainer", name)
        steps = case.shots > 0 and not issubclass(kind, FitOnce)
        assert steps == bool(case.steps), f"{name}: its CASE needs steps={{title: opts}}: {steps}"


class OnMeta:
    """Methods for a trainer that works on meta; only what is stored is still encoded on the CPU."""

    def build_data_loader(self, plain):
        plain(self)
        self.device = META
        if hasattr(self, "backbone"):
            kinds = {"pooled", "patches", self.stored_kind} - {""}
            self.on_host = {kind: FrozenEncoder(self.backbone, kind) for kind in kinds}
            self.backbone = copy.deepcopy(self.backbone).to(META)

    def _open(self, plain, *args):
        with patch.object(self, "_encoders", self.on_host):
            return plain(self, *args)

    def split_features(self, plain, split):
        with patch.object(self, "device", torch.device("cpu")):
            return tuple(t.to(META) for t in plain(self, split))


@pytest.fixture
def on_meta(build, monkeypatch):
    """``on_meta(trainer, KEY, VALUE, ...)``: built as ever, but that its models are on meta."""
    # Read once for each set of prompts, and then remembered.
    monkeypatch.setattr(TextTower, "longest", lambda self, tokens: tokens.shape[1])
    # Meta has none.
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind=None: False)
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())

    def make(name, *opts):
        kind = ensure_loaded("trainer", name)
        for method in ("build_data_loader", "_open", "split_features"):
            if plain := getattr(kind, method, None):
                wrapped = partialmethod(getattr(OnMeta, method), plain)
                monkeypatch.setattr(kind, method, wrapped)
        backbone = trainer_cases()[name].backbone
        plain_opts = ("TRAIN.PRINT_FREQ", 1000, "MODEL.BACKBONE.PRETRAINED", False)
        return build(name, *opts, *plain_opts, backbone=backbone)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_training_step_reads_nothing_back(case, on_meta):
    trainer = on_meta(*CASES[case])
    if hasattr(trainer, "fixmatch"):
        trainer.prepare_fit()  # the loader of unlabelled images
    for learner in trainer._learners:  # as `prepare_training` does, which also reads the images
        trainer._optims[learner] = build_optimizer(trainer._models[learner], trainer.cfg.OPTIM)
    trainer._begin_epoch()
    trainer.set_model_mode("train")
    trainer.num_batches = 1000  # none of these is the last of its epoch, or to be printed
    progress = EpochProgress(trainer, trainer.cfg.TRAIN.PRINT_FREQ)
    batches = list(trainer.train_loader_x)
    for trainer.batch_idx, batch in enumerate(batches):
        progress.batch_loaded()
        summary = trainer.forward_backward(batch)
        assert summary["loss"].device == META
        trainer.after_batch()
        progress.batch_done(summary)
    assert trainer.batch_idx >= 1


@pytest.mark.parametrize("source", ["surface", "none"])
def test_steps_of_the_head_alone_read_nothing_back(source, on_meta):
    trainer = on_meta("SAVLT", "TRAINER.SAVLT.ROI.SOURCE", source, "INPUT.FEATURE_VIEWS", 0)
    loss = trainer.loss_on_views(trainer.dm.dataset.train_x, 2)
    value = loss(torch.tensor([0, 1]), torch.tensor([1, 0]))
    value.backward()
    assert value.device == META


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_on_a_gpu_a_training_step_does_not_wait(case, build):
    name, *opts = CASES[case]
    backbone = trainer_cases()[name].backbone
    trainer = build(name, *opts, "MODEL.BACKBONE.PRETRAINED", False, backbone=backbone)
    trainer.prepare_training()
    trainer._begin_epoch()
    trainer.set_model_mode("train")
    trainer.num_batches = 1000
    first, *others = trainer.train_loader_x
    trainer.batch_idx = 0
    trainer.forward_backward(first)  # what is read once and remembered
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in others:
            trainer.forward_backward(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_what_waits_fails_on_this_device():
    tensor = torch.ones(2, device=META)
    for read in (
        lambda: tensor[0].item(),
        lambda: float(tensor[0]),
        lambda: bool(tensor.any()),
        lambda: tensor[tensor > 0],
        lambda: tensor.nonzero(),
        lambda: tensor.cpu(),
        lambda: tensor.tolist(),
        lambda: tensor.to("cpu", non_blocking=True),
    ):
        with pytest.raises((RuntimeError, NotImplementedError)):
            read()
