"""SS-Text: the texts without shots, and its closed form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase

from dassl.errors import UserError

CASE = (TrainerCase("SSText"), TrainerCase("SSTextPlus"))


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("each, repel", [("all", False), ("class", True)])
def test_no_shots_are_the_texts(module_of, each, repel):
    texts, weights_of = unit(3, 5), module_of("SSText").ss_text_weights
    none = torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)
    assert torch.equal(weights_of(*none, texts, 30.0, each, repel), texts)


@pytest.mark.parametrize("name", ["SSText", "SSTextPlus"])
def test_before_the_fit_it_is_zero_shot(name, build, assert_is_zero_shot):
    assert_is_zero_shot(build(name))


def test_the_closed_form_is_that_of_the_paper(module_of):
    texts, x, labels = unit(3, 5), unit(8, 5, seed=1), torch.tensor([0, 0, 1, 1, 1, 1, 1, 0])
    weights_of, tau = module_of("SSText").ss_text_weights, 1 / 30
    counts = [3, 5, 0]
    plain, plus = texts.clone(), texts.clone()
    for i in range(8):
        c = labels[i]
        plain[c] += x[i] / (8 * (1 / 8) * tau)  # lambda = 1/N
        plus[c] += x[i] / (8 * (1 / counts[c]) * tau)  # lambda = 1/k_c
    mean = plus.mean(0)
    for c in range(3):
        away = 2 * plus[c] - mean
        plus[c] = plus[c] - away / away.norm()
    torch.testing.assert_close(weights_of(x, labels, texts, 30.0, "all", False), plain)
    torch.testing.assert_close(weights_of(x, labels, texts, 30.0, "class", True), plus)


def test_the_closed_form_is_the_minimum_of_its_loss(module_of):
    """Mean of -s f'w of each shot's class plus the sum of lambda/2 |w - t|^2 has no gradient."""
    texts, x, labels = unit(3, 5), unit(6, 5, seed=1), torch.tensor([0, 0, 1, 1, 2, 2])
    w = module_of("SSText").ss_text_weights(x, labels, texts, 30.0, "all", False)
    w.requires_grad_()
    held = (1 / 6) / 2 * (w - texts).square().sum()
    loss = -30.0 * (x * w[labels]).sum(-1).mean() + held
    assert torch.autograd.grad(loss, w)[0].abs().max() < 1e-5


def test_lambda_is_at_least_a_thousandth(module_of):
    texts, x, labels = unit(1, 4), unit(2000, 4, seed=1), torch.zeros(2000, dtype=torch.int64)
    for each in ("all", "class"):
        w = module_of("SSText").ss_text_weights(x, labels, texts, 1.0, each, False)
        torch.testing.assert_close(w, texts + x.sum(0) / (2000 * 1e-3), rtol=1e-4, atol=1e-4)


def test_an_unknown_lambda_is_refused(build):
    with pytest.raises(UserError, match="SSTEXTPLUS.LAMBDA is 'each'; take all or class"):
        build("SSTextPlus", "TRAINER.SSTEXTPLUS.LAMBDA", "each")
