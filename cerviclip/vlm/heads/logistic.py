"""A linear layer from logistic regression: for probes, and to start a classifier that is tuned."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# A class that the training set lacks can never be predicted.
ABSENT_BIAS = -1e4


def fit_logistic(
    features: np.ndarray, labels: np.ndarray, num_classes: int, c: float, max_iter: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """Multinomial logistic regression of features (N, D): weight (C, D), bias (C,) of a softmax."""
    from sklearn.linear_model import LogisticRegression

    weight = np.zeros((num_classes, features.shape[1]))
    bias = np.full(num_classes, ABSENT_BIAS)
    present = np.unique(labels)
    if len(present) == 1:  # nothing to separate
        bias[present] = 0.0
        return weight, bias
    model = LogisticRegression(C=c, max_iter=max_iter).fit(features, labels)
    coef, intercept = model.coef_, model.intercept_
    if len(present) == 2:  # scikit-learn keeps one row: the second class against the first
        coef = np.concatenate([-coef, coef]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    weight[present], bias[present] = coef, intercept
    return weight, bias


def fit_linear(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    c: float,
    max_iter: int = 2000,
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Logistic regression on standardised features, folded back into a layer on raw features.

    Args:
        scale: (D,) factor on each feature once it is standardised: the penalty falls less on
            those of more weight, and one of 0 has no part; None for all alike.
    """
    x = features.double().cpu().numpy()
    mean, std = x.mean(0), x.std(0).clip(min=1e-6)
    if scale is not None:
        factor = scale.double().numpy()
        std = std / np.where(factor > 0, factor, 1.0)
        out = factor == 0
        x[:, out], mean[out] = 0.0, 0.0
    weight, bias = fit_logistic((x - mean) / std, labels.cpu().numpy(), num_classes, c, max_iter)
    weight = weight / std
    return torch.from_numpy(weight).float(), torch.from_numpy(bias - weight @ mean).float()
