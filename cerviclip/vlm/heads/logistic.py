"""Linear layers from logistic regression: for probes, and to start a classifier that is tuned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cerviclip.vlm.heads.softmax_regression import fit_path

# A class that the training set lacks can never be predicted.
ABSENT_BIAS = -1e4


def fit_logistic(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    cs: Sequence[float],
    max_iter: int = 2000,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Logistic regression of features (N, D) for each inverse penalty of ``cs``.

    C has scikit-learn's meaning: with two classes present the penalty is on the difference of
    their weights.

    Args:
        max_iter: Newton steps for each penalty; a warning says where they were not enough.

    Returns:
        Weight (C, D) and bias (C,) of a softmax, for each of ``cs``.
    """
    present, places = np.unique(labels, return_inverse=True)
    if len(present) == 1:  # nothing to separate
        fits = [(np.zeros((1, features.shape[1])), np.zeros(1))] * len(cs)
    else:
        halved = [c / 2 if len(present) == 2 else c for c in cs]
        fits = fit_path(features, places, halved, max_iter)
    return [_of_all(num_classes, present, *fit) for fit in fits]


def _of_all(
    num_classes: int, present: np.ndarray, coef: np.ndarray, intercept: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    weight = np.zeros((num_classes, coef.shape[1]))
    bias = np.full(num_classes, ABSENT_BIAS)
    weight[present], bias[present] = coef, intercept
    return weight, bias


def fit_linear(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    cs: Sequence[float],
    max_iter: int = 2000,
    scale: Tensor | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Logistic regression on standardised features, folded back into layers on raw features.

    Args:
        cs: inverse penalties; a layer for each.
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
    fits = fit_logistic((x - mean) / std, labels.cpu().numpy(), num_classes, cs, max_iter)
    layers = [(weight / std, bias) for weight, bias in fits]
    return [
        (torch.from_numpy(weight).float(), torch.from_numpy(bias - weight @ mean).float())
        for weight, bias in layers
    ]
