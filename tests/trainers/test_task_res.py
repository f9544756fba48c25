"""TaskRes: zero-shot before training or at scale 0, and its equation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from cases import TrainerCase

CASE = TrainerCase("TaskRes", steps={"as it is": ()}, stored=("OPTIM.LR", 0.01))


def test_untrained_is_zero_shot(build, assert_is_zero_shot):
    assert_is_zero_shot(build("TaskRes"))


def test_scale_0_is_zero_shot_whatever_is_learnt(build, assert_is_zero_shot):
    trainer = build("TaskRes", "TRAINER.TASKRES.ALPHA", 0.0)
    trainer.residual.residual.data.normal_()
    assert_is_zero_shot(trainer)


def test_only_the_residual_learns(build):
    trainer = build("TaskRes", "OPTIM.LR", 0.01)
    trainer.train()
    assert list(trainer.residual.state_dict()) == ["residual"]
    assert trainer.residual.residual.shape == (3, 32)
    assert trainer.residual.residual.abs().max() > 0


def test_loss_and_logits_are_those_of_the_paper(build, test_batch):
    trainer = build("TaskRes", "TRAINER.TASKRES.ALPHA", 0.7)
    trainer.residual.residual.data.normal_(generator=torch.Generator().manual_seed(0))
    x, labels = test_batch(trainer)[:2], torch.tensor([0, 2])
    features, texts = trainer.image_features(x), trainer.classifier
    expected = torch.zeros(2, 3)
    for i in range(2):
        for c in range(3):
            target = texts[c] + 0.7 * trainer.residual.residual[c]
            cosine = (features[i] * target).sum() / (features[i].norm() * target.norm())
            expected[i, c] = trainer.backbone.scale * cosine
    loss, logits = trainer.loss_and_logits(x, labels)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(loss, F.cross_entropy(expected, labels))
