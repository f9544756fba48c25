"""Tip-Adapter: equations, limits and the search on val."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F


@pytest.fixture
def tip(module_of):
    return module_of("TipAdapter")


def test_cache_logits_are_equation_5_written_as_loops(tip):
    affinity, values, beta = torch.rand(3, 4), F.one_hot(torch.tensor([0, 1, 1, 2]), 3).float(), 5.5
    expected = torch.zeros(3, 3)
    for b in range(3):
        for n in range(4):
            for c in range(3):
                expected[b, c] += math.exp(-beta * (1 - affinity[b, n])) * values[n, c]
    torch.testing.assert_close(tip.cache_logits(affinity, values, beta), expected)


def test_keys_are_unit_means_of_the_views(tip):
    views = F.normalize(torch.randn(2, 3, 8), dim=-1)
    keys, values = tip.class_cache(views, torch.tensor([2, 0]), 3)
    torch.testing.assert_close(keys, F.normalize(views.mean(1), dim=-1))
    assert values.tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("name", ["TipAdapter", "TipAdapterF"])
def test_alpha_0_is_zero_shot(name, build):
    section = f"TRAINER.{name.upper()}"
    trainer = build(name, f"{section}.ALPHA", 0.0, f"{section}.SEARCH", False)
    trainer.train()
    zero_shot = build("ZeroShotCLIP", shots=0)
    x = next(iter(trainer.make_loader(trainer.dm.dataset.test)))["img"]
    assert torch.equal(trainer.model_inference(x), zero_shot.model_inference(x))


def test_search_finds_the_best_of_all_pairs_one_by_one(tip):
    torch.manual_seed(1)
    labels = torch.randint(3, (20,))
    clip_logits, affinity = torch.randn(20, 3), torch.rand(20, 6)
    values = F.one_hot(torch.arange(6) % 3, 3).float()
    alphas, betas = torch.linspace(0.1, 3, 4), torch.linspace(0.1, 7, 5)
    settings, accuracy, loss = tip.search_grid(clip_logits, affinity, values, labels, alphas, betas)
    assert len(settings) == 20
    for setting, acc, nll in zip(settings, accuracy, loss, strict=True):
        logits = (
            clip_logits + setting["alpha"] * torch.exp(-setting["beta"] * (1 - affinity)) @ values
        )
        assert acc.item() == pytest.approx((logits.argmax(-1) == labels).float().mean() * 100)
        assert nll.item() == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-5)


def test_published_values_stay_without_val(build):
    trainer = build("TipAdapterF", "DATASET.SPLIT_RATIO", "(0.5, 0.0, 0.5)")
    trainer.train()
    assert (trainer.head.alpha.item(), trainer.head.beta.item()) == (1.0, 5.5)
    assert "search" not in trainer.extra_results


def test_found_values_are_saved_with_the_keys(build):
    trainer = build("TipAdapterF")
    start = trainer.head.keys.detach().clone()
    trainer.train()
    chosen = trainer.extra_results["search"]["chosen"]
    assert trainer.head.alpha.item() == pytest.approx(chosen["alpha"])
    assert not torch.equal(trainer.head.keys, start)
    fresh = build("TipAdapterF")
    fresh.load_model(trainer.output_dir)
    assert fresh.head.beta.item() == pytest.approx(chosen["beta"])
    assert torch.equal(fresh.head.keys, trainer.head.keys)
