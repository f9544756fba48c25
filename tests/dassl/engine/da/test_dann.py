"""DANN: the critic learns the domain, the features unlearn it."""

from __future__ import annotations

import pytest
import torch

from dassl.engine import build_trainer
from dassl.utils import set_random_seed


def two_batches(trainer):
    bright = {"img": torch.rand(8, 3, 8, 8) + 1, "label": torch.arange(8) % 3}
    dark = {"img": torch.rand(8, 3, 8, 8) - 1, "label": torch.zeros(8)}
    trainer.num_batches = 2
    trainer.set_model_mode("train")
    return bright, dark


def test_trains_and_saves_both_networks(tiny, tmp_path, capsys):
    set_random_seed(1)
    trainer = build_trainer(tiny("DANN"))
    trainer.train()
    out = capsys.readouterr().out
    assert "Building critic network\nHead: mlp\n# params: " in out and " loss_d " in out
    assert trainer.get_model_names() == ["model", "critic"]
    # Subclasses written for upstream call them by these names.
    assert trainer.optim_c is trainer._optims["critic"]
    assert trainer.sched_c is trainer._scheds["critic"]
    for name in ("model", "critic"):
        assert (tmp_path / "run" / name / "model.pth.tar-3").is_file()
    assert set(trainer.history[0]) == {"epoch", "lr", "loss_x", "acc_x", "loss_d"}


def test_the_reversed_gradient_is_nil_at_the_start_and_grows(tiny):
    """Strength 2 / (1 + exp(-10 p)) - 1 at progress p: 0 at first, 0.92 at a third."""
    set_random_seed(1)
    trainer = build_trainer(tiny("DANN", OPTIM__MAX_EPOCH=3))
    seen = []
    trainer.revgrad.register_forward_hook(
        lambda module, args, kwargs, out: seen.append(kwargs["grad_scaling"]), with_kwargs=True
    )
    bright, dark = two_batches(trainer)
    for trainer.epoch, trainer.batch_idx in ((0, 0), (1, 0)):
        trainer.forward_backward(bright, dark)
    assert seen == pytest.approx([0, 0, 0.93110961, 0.93110961], abs=1e-6)


def test_features_move_so_that_the_critic_does_worse(tiny):
    """One step of the feature extractor alone raises the critic's loss; the critic's lowers it."""
    for part, sign in (("model", 1), ("critic", -1)):
        set_random_seed(1)
        trainer = build_trainer(tiny("DANN", OPTIM__LR=1e-3, OPTIM__WEIGHT_DECAY=0.0))
        trainer.model.classifier.weight.data.zero_()  # no gradient of the labels reaches features
        bright, dark = two_batches(trainer)
        trainer.model.backbone.drop.p = 0.0
        trainer.batch_idx, trainer.epoch, trainer.max_epoch = 0, 1, 2
        step_of_one_part = trainer._optims[part].step
        trainer.model_update = lambda names=None, step=step_of_one_part: step()
        before = trainer.forward_backward(bright, dark)["loss_d"]
        after = trainer.forward_backward(bright, dark)["loss_d"]
        assert sign * (after - before) > 0
