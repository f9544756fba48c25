"""GDA: zero-shot at alpha 0, its equations, and the choice of alpha."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase

CASE = TrainerCase("GDA")


def test_alpha_0_is_zero_shot(build, assert_is_zero_shot):
    trainer = build("GDA", "TRAINER.GDA.ALPHA", 0.0, "TRAINER.GDA.SEARCH", False)
    trainer.train()
    assert_is_zero_shot(trainer)


def shots() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    return F.normalize(x, dim=-1), torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2])


def test_the_classifier_is_that_of_the_paper(module_of):
    x, labels = shots()
    rows, n, dim = x.double().numpy(), 12, 5
    means = [rows[labels.numpy() == c].mean(0) for c in range(3)]
    covariance = np.zeros((dim, dim))
    for i in range(n):
        away = rows[i] - means[labels[i]]
        covariance += np.outer(away, away) / (n - 1)
    precision = dim * np.linalg.inv((n - 1) * covariance + np.trace(covariance) * np.eye(dim))
    weight, bias = module_of("GDA").gda_classifier(x, labels, 3)
    for c in range(3):
        torch.testing.assert_close(weight[c], torch.tensor(precision @ means[c]).float())
        expected = math.log(1 / 3) - means[c] @ precision @ means[c] / 2
        assert bias[c].item() == pytest.approx(expected, rel=1e-5)


def test_logits_add_the_classifier_to_zero_shot(build, test_batch):
    trainer = build("GDA", "TRAINER.GDA.ALPHA", 0.3, "TRAINER.GDA.SEARCH", False)
    trainer.train()
    x = test_batch(trainer)
    features, head = trainer.image_features(x), trainer.head.linear
    expected = trainer.backbone.scale * features @ trainer.classifier.t()
    expected = expected + 0.3 * (features @ head.weight.t() + head.bias)
    torch.testing.assert_close(trainer.model_inference(x), expected)


def test_one_shot_without_spread_and_a_class_without_shots_stay_finite(module_of):
    x, _ = shots()
    weight, bias = module_of("GDA").gda_classifier(x[:2], torch.tensor([0, 1]), 3)
    assert torch.isfinite(weight).all() and torch.isfinite(bias).all()
    assert bias[2] < bias[:2].min() - 1000


def test_alpha_is_chosen_on_val_and_saved(build):
    trainer = build("GDA")
    trainer.train()
    search = trainer.extra_results["search"]
    assert search["tried"] == 7
    fresh = build("GDA")
    fresh.load_model(trainer.output_dir)
    assert fresh.head.alpha.item() == pytest.approx(search["chosen"]["alpha"])
    assert torch.equal(fresh.head.linear.weight, trainer.head.linear.weight)


def test_the_default_stays_without_val(build):
    trainer = build("GDA", "DATASET.SPLIT_RATIO", "(0.5, 0.0, 0.5)")
    trainer.train()
    assert trainer.head.alpha.item() == pytest.approx(0.1)
    assert "search" not in trainer.extra_results
