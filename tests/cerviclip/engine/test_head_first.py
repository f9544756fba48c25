"""A head alone: batches from the seed, the optimum of a convex loss, styles on request."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cerviclip.engine.head_first import head_optim_cfg, random_batches, train_head
from cerviclip.vlm.base import Preprocess
from dassl.config import get_cfg_default
from dassl.data.transforms import build_styled_transform
from dassl.data.transforms.style import StyleStrength


def test_batches_come_from_the_seed_alone():
    state = torch.get_rng_state()
    first, again = (list(random_batches(10, 3, 4, 20, seed=1)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    other = list(random_batches(10, 3, 4, 20, seed=2))
    assert any(not torch.equal(x[0], y[0]) for x, y in zip(first, other, strict=True))


def test_a_batch_has_different_images_and_all_views_come_up():
    batches = list(random_batches(5, 3, 4, 60, seed=1))
    assert all(len(set(index.tolist())) == 4 for index, _ in batches)
    assert {v for _, view in batches for v in view.tolist()} == {0, 1, 2}
    assert {i for index, _ in batches for i in index.tolist()} == set(range(5))


def optim_cfg(lr: float):
    cfg = get_cfg_default().OPTIM
    cfg.NAME, cfg.LR, cfg.WEIGHT_DECAY = "adamw", 5.0, 0.0
    cfg.LR_SCHEDULER, cfg.STEPSIZE, cfg.WARMUP_EPOCH = "single_step", (1,), 5
    return head_optim_cfg(cfg, lr)


def test_finds_the_least_squares_solution(capsys):
    torch.manual_seed(0)
    x, head = torch.randn(50, 4), nn.Linear(4, 2, bias=False)
    y = x @ torch.randn(4, 2) + 0.1 * torch.randn(50, 2)
    batches = random_batches(50, 1, 50, 1500, seed=1)
    train_head(head, optim_cfg(0.02), 1500, batches, lambda i, _: F.mse_loss(head(x[i]), y[i]))
    best = torch.linalg.lstsq(x, y).solution
    torch.testing.assert_close(head.weight.detach().t(), best, rtol=1e-3, atol=1e-3)
    assert capsys.readouterr().out.count("head alone [") == 4


@pytest.mark.parametrize("broken", ["loss", "weights"])
def test_what_is_not_finite_stops_and_names_the_rate(broken):
    head = nn.Linear(2, 1)
    factor = 1e39 if broken == "loss" else 1.0
    batches = random_batches(4, 1, 2, 8, seed=1)
    lr = 0.1 if broken == "loss" else 1e35
    with pytest.raises(FloatingPointError, match=r"step [1-8]/8; lower SOME.LR, now"):
        train_head(
            head,
            optim_cfg(lr),
            8,
            batches,
            lambda i, v: head(torch.ones(2) * 1e3).sum() * factor,
            "SOME.LR",
        )


def test_style_is_added_with_its_strength_and_the_config_stays(capsys):
    cfg = get_cfg_default()
    cfg.INPUT.TRANSFORMS = ("random_flip",)
    cfg.freeze()
    preprocess = Preprocess(size=(16, 16))
    text = str(build_styled_transform(cfg, preprocess, StyleStrength(0.1, 0.2, 0.3, 0.4)))
    assert "RandomStyleOfOne" in text and "(0.1, 0.2, 0.3, 0.4)" in capsys.readouterr().out
    assert "RandomStyle" not in str(build_styled_transform(cfg, preprocess, None))
    assert cfg.INPUT.TRANSFORMS == ("random_flip",) and cfg.INPUT.STYLE == (0.3, 0.3, 0.2, 0.5)
