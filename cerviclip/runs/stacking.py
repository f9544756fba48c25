"""Probabilities of several models on the same images as those of one: averaged, or stacked on val.

Letters: M models, B images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from cerviclip.vlm.heads.logistic import fit_logistic
from dassl.errors import UserError

LEAST = 1e-4  # of a probability whose logarithm is taken: smaller ones would rule the fit
C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
FOLDS = 5


@dataclass(frozen=True)
class Stacking:
    """Logistic regression on the log-probabilities of all models.

    Args:
        weight: (C, M * C).
        bias: (C,).
        c: the inverse penalty that cross-validation by patient chose.
        log_loss: of the cross-validation, in nats.
        held_out: (B, C) probabilities of the val images, each by a fit that saw none of its
            patient's.
    """

    weight: np.ndarray
    bias: np.ndarray
    c: float
    log_loss: float
    held_out: np.ndarray

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """(B, C) of probabilities (M, B, C)."""
        return stacked(probs, self.weight, self.bias)


def stacked(probs: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(B, C) of probabilities (M, B, C) by a fitted `Stacking`'s weight and bias."""
    return _predict(log_rows(probs), weight, bias)


def log_rows(probs: np.ndarray) -> np.ndarray:
    """Log-probabilities (B, M * C) of (M, B, C)."""
    return np.log(np.clip(probs, LEAST, None)).transpose(1, 0, 2).reshape(probs.shape[1], -1)


def _predict(rows: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return softmax(rows @ weight.T + bias, axis=1)


def stack(probs: np.ndarray, labels: np.ndarray, patients: Sequence[str]) -> Stacking:
    """Fit on val: C by the log-loss of folds that part no patient, then all images at that C.

    Args:
        probs: (M, B, C).
        labels: (B,).
        patients: (B,) ids, "" where unknown: that image is then its own patient.

    Raises:
        UserError: fewer than two patients.
    """
    rows, classes = log_rows(probs), probs.shape[2]
    groups = np.array([name or f"\0{i}" for i, name in enumerate(patients)])
    folds = min(FOLDS, len(set(groups)))
    if folds < 2:
        raise UserError("stacking needs val images of two patients or more; average instead")
    held = _held_out(rows, labels, groups, folds, classes)
    true = held[:, np.arange(len(labels)), labels]  # (grid, B)
    losses = -np.log(np.clip(true, LEAST, None)).mean(axis=1)
    best = int(losses.argmin())
    ((weight, bias),) = fit_logistic(rows, labels, classes, [C_GRID[best]])
    return Stacking(weight, bias, C_GRID[best], float(losses[best]), held[best])


def _held_out(
    rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int, classes: int
) -> np.ndarray:
    """Probabilities (grid, B, C) of each image by the fit that has not seen its fold."""
    from sklearn.model_selection import GroupKFold

    out = np.empty((len(C_GRID), len(rows), classes))
    for fit, rest in GroupKFold(folds).split(rows, labels, groups):
        for place, layer in enumerate(fit_logistic(rows[fit], labels[fit], classes, C_GRID)):
            out[place, rest] = _predict(rows[rest], *layer)
    return out
