"""Losses towards a frozen teacher, against their equations."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from cerviclip.vlm.learned.teaching import mean_cosine_distance, mean_divergence


def test_the_distance_is_0_of_the_same_and_2_of_opposite_features():
    features = F.normalize(torch.randn(3, 8), dim=-1)
    assert torch.allclose(mean_cosine_distance(features, features), torch.tensor(0.0), atol=1e-6)
    assert torch.allclose(mean_cosine_distance(features, -features), torch.tensor(2.0), atol=1e-6)


def test_the_divergence_is_kullback_and_leiblers_over_images_and_classes():
    logits, teacher = torch.randn(4, 3), torch.randn(4, 3)
    p, p0 = logits.softmax(-1), teacher.softmax(-1)
    expected = (p0 * (p0 / p).log()).sum() / 12
    assert torch.allclose(mean_divergence(logits, teacher), expected, atol=1e-6)
    assert torch.allclose(mean_divergence(teacher, teacher), torch.tensor(0.0), atol=1e-6)
