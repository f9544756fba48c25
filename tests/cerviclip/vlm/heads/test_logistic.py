"""The linear layer of a logistic regression, against scikit-learn's own fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cerviclip.vlm.heads.logistic import fit_linear


def clouds(classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), 12)
    x = rng.normal(size=(len(labels), 6)) * rng.uniform(0.1, 5, 6) + labels[:, None] * 0.7 + 3
    return torch.from_numpy(x).float(), torch.from_numpy(labels)


@pytest.mark.parametrize("classes", [2, 4])
def test_layer_gives_the_probabilities_of_a_scikit_learn_pipeline(classes):
    x, y = clouds(classes)
    ((weight, bias),) = fit_linear(x, y, classes, [0.3])
    ours = torch.softmax(x @ weight.t() + bias, dim=-1)
    scaled = StandardScaler().fit_transform(x.double().numpy())
    theirs = (
        LogisticRegression(C=0.3, max_iter=2000, tol=1e-9)
        .fit(scaled, y.numpy())
        .predict_proba(scaled)
    )
    np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-4)


def test_a_class_without_images_gets_probability_zero():
    x, y = clouds(3)
    ((weight, bias),) = fit_linear(x, y + (y > 0).long(), 4, [1.0])  # class 1 is absent
    probabilities = torch.softmax(x @ weight.t() + bias, dim=-1)
    assert probabilities[:, 1].max() == 0
    assert (probabilities.argmax(-1) != 1).all()


def test_one_class_alone_is_always_predicted():
    x, _ = clouds(2)
    ((weight, bias),) = fit_linear(x, torch.ones(len(x), dtype=torch.long), 3, [1.0])
    assert torch.softmax(x @ weight.t() + bias, -1)[:, 1].min() == 1
