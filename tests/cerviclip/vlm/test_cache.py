"""The cache's equations, and the search over its two settings."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from cerviclip.vlm.cache import CacheHead, cache_logits, class_cache, search_grid


def test_cache_logits_are_equation_5_written_as_loops():
    affinity, values, beta = torch.rand(3, 4), F.one_hot(torch.tensor([0, 1, 1, 2]), 3).float(), 5.5
    expected = torch.zeros(3, 3)
    for b in range(3):
        for n in range(4):
            for c in range(3):
                expected[b, c] += math.exp(-beta * (1 - affinity[b, n])) * values[n, c]
    torch.testing.assert_close(cache_logits(affinity, values, beta), expected)


def test_keys_are_unit_means_of_the_views():
    views = F.normalize(torch.randn(2, 3, 8), dim=-1)
    keys, values = class_cache(views, torch.tensor([2, 0]), 3)
    torch.testing.assert_close(keys, F.normalize(views.mean(1), dim=-1))
    assert values.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_search_finds_the_best_of_all_pairs_one_by_one():
    torch.manual_seed(1)
    labels = torch.randint(3, (20,))
    clip_logits, affinity = torch.randn(20, 3), torch.rand(20, 6)
    values = F.one_hot(torch.arange(6) % 3, 3).float()
    alphas, betas = torch.linspace(0.1, 3, 4), torch.linspace(0.1, 7, 5)
    settings, accuracy, loss = search_grid(clip_logits, affinity, values, labels, alphas, betas)
    assert len(settings) == 20
    for setting, acc, nll in zip(settings, accuracy, loss, strict=True):
        logits = (
            clip_logits + setting["alpha"] * torch.exp(-setting["beta"] * (1 - affinity)) @ values
        )
        assert acc.item() == pytest.approx((logits.argmax(-1) == labels).float().mean() * 100)
        assert nll.item() == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-5)


def test_the_heads_logits_are_the_caches_times_alpha():
    keys, values = F.normalize(torch.randn(6, 4), dim=-1), torch.eye(3).repeat(2, 1)
    x = F.normalize(torch.randn(5, 4), dim=-1)
    expected = 0.7 * cache_logits(x @ keys.t(), values, 2.0)
    head = CacheHead(keys.shape[1], values.shape[1], 0.7, 2.0)
    head.set_rows(keys=keys, values=values)
    assert torch.allclose(head(x), expected)
