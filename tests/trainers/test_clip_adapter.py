"""CLIP-Adapter: zero-shot at ratio 0, and its equation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from cases import TrainerCase

CASE = TrainerCase("ClipAdapter", steps={"as it is": ()}, stored=("OPTIM.LR", 0.01))


def test_ratio_0_is_zero_shot_whatever_is_learnt(build, assert_is_zero_shot):
    trainer = build("ClipAdapter", "TRAINER.CLIPADAPTER.RATIO", 0.0)
    trainer.train()
    assert_is_zero_shot(trainer)


def test_loss_and_logits_are_those_of_the_paper(build, test_batch):
    trainer = build("ClipAdapter", "TRAINER.CLIPADAPTER.RATIO", 0.3)
    x, labels = test_batch(trainer)[:2], torch.tensor([0, 2])
    down, up = trainer.adapter.down.weight, trainer.adapter.up.weight
    assert down.shape == (8, 32) and up.shape == (32, 8)
    features, texts = trainer.image_features(x), trainer.classifier
    expected = torch.zeros(2, 3)
    for i in range(2):
        hidden = torch.stack([(row * features[i]).sum().clamp(min=0) for row in down])
        adapted = torch.stack([(row * hidden).sum().clamp(min=0) for row in up])
        mixed = 0.3 * adapted + 0.7 * features[i]
        for c in range(3):
            cosine = (mixed * texts[c]).sum() / (mixed.norm() * texts[c].norm())
            expected[i, c] = trainer.backbone.scale * cosine
    loss, logits = trainer.loss_and_logits(x, labels)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(loss, F.cross_entropy(expected, labels))


def test_the_length_of_a_feature_is_without_effect(module_of):
    adapter, x = module_of("ClipAdapter").FeatureAdapter(16, 4, 0.2), torch.randn(3, 16)
    torch.testing.assert_close(adapter(7 * x), adapter(x))
