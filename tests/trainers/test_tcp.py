"""TCP: prompts of each class enter the text tower at one block."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import first_batch, step, template_features, text_by_hand

from dassl.errors import UserError

SECOND = ("TRAINER.TCP.LAYER", 1)
CASE = TrainerCase(
    "TCP",
    SECOND,
    steps={"as it is": SECOND, "pixels": (*SECOND, "INPUT.FEATURE_VIEWS", 0)},
    stored=SECOND,
)
ONE_TEXT = ("DATASET.TEMPLATES", "('a photo of a {}.',)")


@pytest.mark.parametrize("layer", [0, 1])
def test_loss_and_logits_are_the_papers(build, layer):
    trainer = build("TCP", *ONE_TEXT, "TRAINER.TCP.LAYER", layer, "TRAINER.TCP.W", 3.0)
    backbone, learner = trainer.backbone, trainer.prompt_learner
    x, label = first_batch(trainer)
    loss, logits = trainer.loss_and_logits(x, label)

    clip = template_features(backbone, trainer.task.classnames, "a photo of a {}.")
    first, _, second, _ = trainer.prompter
    hidden = clip @ first.weight.t() + first.bias
    assert hidden.shape == (3, 32 // 4)
    prompts = (hidden * torch.sigmoid(1.702 * hidden)) @ second.weight.t() + second.bias
    w = text_by_hand(backbone, learner()[0], learner.tokens, {layer: prompts.reshape(3, 4, 64)})
    expected = backbone.logit_scale.exp() * trainer.image_features(x) @ w.t()
    wanted = F.cross_entropy(expected, label) + 3.0 * (1 - (w * clip).sum(-1).mean())
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(loss, wanted, rtol=0, atol=1e-3)


def test_a_step_changes_the_context_and_the_network(build):
    changed = step(build("TCP", *SECOND, "OPTIM.LR", 0.1))
    network = {f"prompter.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")}
    assert changed == {"prompt_learner.ctx"} | network


def test_a_block_that_the_tower_has_not_is_refused(build):
    with pytest.raises(UserError, match="class-aware prompts before 1 blocks from block 8.*has 2"):
        build("TCP")
