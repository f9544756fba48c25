"""2SFS: two stages, each with its own learners, schedule and equation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import first_batch
from torch import nn

from dassl.errors import UserError

SHORT = ("TRAIN.MAX_ITERS", 5)  # 3 of stage 1
CASE = TrainerCase(
    "TwoStageFewShot",
    (*SHORT, "OPTIM.LR", 0.01),
    steps={
        "first": ("TRAIN.MAX_ITERS", 1000),
        "second": ("TRAIN.MAX_ITERS", 1000, "TRAINER.TWOSTAGEFEWSHOT.FRACTION", 0.0),
    },
)
SECTION = "TRAINER.TWOSTAGEFEWSHOT."


def test_untrained_it_is_zero_shot(build, assert_is_zero_shot):
    trainer = build("TwoStageFewShot", *SHORT)
    images, texts = trainer.encode_images, trainer.class_features
    pixels, _ = first_batch(trainer)
    with torch.no_grad():
        frozen = F.normalize(trainer.backbone.visual(pixels), dim=-1)
        assert torch.equal(images(pixels), frozen)
        torch.testing.assert_close(texts(), trainer.text_features(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("tuned, kind", [("norm", nn.LayerNorm), ("bias", None)])
def test_what_learns_in_each_stage_and_by_which_rate(build, tuned, kind):
    opts = (SECTION + "TUNED", tuned, "OPTIM.LR", 0.01, "OPTIM.LR_SCHEDULER", "cosine")
    trainer = build("TwoStageFewShot", *SHORT, *opts, "OPTIM.NAME", "adamw")
    names = trainer.tower_learners
    for name, tower in zip(names, (trainer.visual, trainer.text), strict=True):
        learned = trainer._models[name].learned
        if kind is not None:
            owners = {type(tower.get_submodule(n.rpartition(".")[0])) for n in learned}
            assert all(issubclass(owner, kind) for owner in owners)
        else:
            assert all(n.endswith("bias") for n in learned)
    frozen, seen = trainer.backbone.fingerprint(), []
    step = trainer.forward_backward

    def state(name):
        return {k: v.clone() for k, v in trainer._models[name].state_dict().items()}

    def watched(batch):
        before = {name: state(name) for name in (*names, "classifier")}
        rates = {n: trainer._optims[n].param_groups[0]["lr"] for n in before}
        summary = step(batch)
        moved = {n for n in before if any(not torch.equal(v, before[n][k])
                                          for k, v in state(n).items())}  # fmt: skip
        seen.append((moved, rates["classifier" if "classifier" in moved else names[0]]))
        return summary

    trainer.forward_backward = watched
    trainer.train()
    assert [moved for moved, _ in seen] == [set(names)] * 3 + [{"classifier"}] * 2
    rates = [rate for _, rate in seen]
    torch.testing.assert_close(rates, [0.01, 0.0075, 0.0025, 0.01, 0.005])  # a cosine in each
    assert trainer.backbone.fingerprint() == frozen


def test_each_stage_has_the_papers_loss(build):
    trainer = build("TwoStageFewShot", *SHORT, "OPTIM.LR", 0.01)
    trainer.prepare_training()
    trainer.epoch = trainer.batch_idx = 0
    pixels, label = first_batch(trainer)
    for parameter in trainer._models["text_norm"].parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    scale = trainer.backbone.logit_scale.exp()
    tokens = trainer.backbone.tokenize([group[0] for group in trainer.class_texts()])
    images = F.normalize(trainer.visual(pixels), dim=-1)
    texts = F.normalize(trainer.text(tokens), dim=-1)
    loss, logits = trainer.loss_and_logits(pixels, label)
    torch.testing.assert_close(logits, scale * images @ texts.t(), rtol=0, atol=1e-3)
    torch.testing.assert_close(loss, F.cross_entropy(scale * images @ texts.t(), label))

    trainer.batch_idx = 3
    trainer.begin_second()
    torch.testing.assert_close(trainer.second.weight, texts, rtol=0, atol=1e-5)
    trainer.second.weight.data *= 1 + torch.rand(3, 32)
    unit = trainer.second.weight / trainer.second.weight.norm(dim=-1, keepdim=True)
    loss, logits = trainer.loss_and_logits(pixels, label)
    torch.testing.assert_close(logits, scale * images @ unit.t(), rtol=0, atol=1e-3)
    loss.backward()
    assert all(p.grad is None for p in trainer.visual.parameters())
    with torch.no_grad():
        assert torch.equal(trainer.model_inference(pixels), logits)


def test_a_resnets_statistics_move_in_the_first_stage_alone(build, resnet_file):
    trainer = build("TwoStageFewShot", *SHORT, "MODEL.INIT_WEIGHTS", resnet_file)
    means, step = [], trainer.forward_backward

    def watched(batch):
        summary = step(batch)
        means.append(trainer.visual.trunk.bn1.running_mean.clone())
        return summary

    trainer.forward_backward = watched
    trainer.train()
    assert not torch.equal(means[0], means[2]) and torch.equal(means[2], means[4])


def test_iterations_are_300_a_shot_and_three_fifths_the_first_stage(build):
    trainer = build("TwoStageFewShot", shots=2)
    assert (trainer.max_iters, trainer.first_iterations) == (600, 360)


@pytest.mark.parametrize("key, value", [("FRACTION", 1.0), ("TUNED", "all")])
def test_values_that_mean_nothing_are_refused(build, key, value):
    with pytest.raises(UserError, match=f"TWOSTAGEFEWSHOT.{key} is"):
        build("TwoStageFewShot", SECTION + key, value)
