"""Value and interval of Cohen's kappa, AUPRC, Brier score and log loss.

All take (B,) labels, scores and (B,) patient numbers from 0. The statistics themselves take rows of
image weights and agree with scikit-learn's under ``sample_weight``. How many patients are imagined
was chosen by coverage: half of one leaves quadratic kappa at 0.88; losses need a tenth. AUPRC has
an interval of its own: resampled patients covered 0.86 where they have unequal numbers of images.

Letters: R resamples, N rows, B images, C classes.
"""

from __future__ import annotations

import numpy as np

from cerviclip.evaluation.intervals.auprc import auprc_limits
from cerviclip.evaluation.intervals.generic import IMAGINED, Estimate, interval_of
from cerviclip.evaluation.intervals.means import brier_losses, log_losses

OF_QUADRATIC, OF_LOSSES = 1.0, 0.1  # imagined patients
GREATEST_BRIER = 2.0  # squared distance of two certain and different classes


def kappa_interval(
    labels: np.ndarray, probs: np.ndarray, patients: np.ndarray, quadratic: bool = False
) -> Estimate:
    """Cohen's kappa of the most probable class with the truth, -1 to 1.

    Args:
        labels: (B,) true classes.
        probs: (B, C) class probabilities.
        patients: (B,) patient numbers from 0.
        quadratic: weight disagreements by the squared distance of the classes, which must be in
            their order.
    """
    statistic, imagined = (quadratic_kappa, OF_QUADRATIC) if quadratic else (kappa, IMAGINED)
    return interval_of(statistic, labels, probs, patients, bounds=(-1.0, 1.0), imagined=imagined)


def auprc_interval(positive: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Estimate:
    """Area under the precision-recall curve (average precision) of (B,) scores, 0 to 1."""
    positive, scores = np.asarray(positive) > 0, np.asarray(scores, dtype=np.float64)
    if not positive.any():
        return Estimate(np.nan, np.nan, np.nan, 0)
    patients = np.unique(patients, return_inverse=True)[1]
    if positive.all() or patients.max() < 1:
        value = average_precision(positive, scores, np.ones((1, len(scores))))[0]
        return Estimate(float(value), np.nan, np.nan, 0)
    return Estimate(*auprc_limits(scores, positive, patients), 0)


def brier_interval(labels: np.ndarray, probs: np.ndarray, patients: np.ndarray) -> Estimate:
    """Mean squared distance of (B, C) probabilities from the truth, 0 to 2."""
    bounds = (0.0, GREATEST_BRIER)
    return interval_of(brier, labels, probs, patients, bounds=bounds, imagined=OF_LOSSES)


def log_loss_interval(labels: np.ndarray, probs: np.ndarray, patients: np.ndarray) -> Estimate:
    """Mean negative logarithm of the true class's probability, from 0."""
    bounds = (0.0, np.inf)
    return interval_of(log_loss, labels, probs, patients, bounds=bounds, imagined=OF_LOSSES)


def brier(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) weighted means of ``brier_losses``."""
    return weights @ brier_losses(labels, probs)[0] / weights.sum(axis=1)


def log_loss(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) weighted means of ``log_losses``."""
    return weights @ log_losses(labels, probs)[0] / weights.sum(axis=1)


def kappa(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) agreement beyond chance over what chance leaves; NaN if all is of one class."""
    said = probs.argmax(axis=1)
    classes = np.eye(probs.shape[1])
    total = weights.sum(axis=1)
    agreed = weights @ (said == labels) / total
    by_chance = ((weights @ classes[labels]) * (weights @ classes[said])).sum(axis=1) / total**2
    return _ratio(agreed - by_chance, 1 - by_chance)


def quadratic_kappa(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) one less the mean squared distance of classes over what chance would make it."""
    said = probs.argmax(axis=1)
    total = weights.sum(axis=1)
    sums = np.stack([(labels - said) ** 2, labels, said, labels**2 + said**2], axis=1)
    seen, true, told, squares = (weights @ sums.astype(np.float64) / total[:, None]).T
    return 1 - _ratio(seen, squares - 2 * true * told)


def average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) mean precision at the positives of (N,) scores, equal scores taken together."""
    order = np.argsort(-scores, kind="stable")
    scores, weights = scores[order], weights[:, order]
    last = np.r_[scores[1:] != scores[:-1], True]
    hits = np.cumsum(weights * labels[order], axis=1)[:, last]
    above = np.cumsum(weights, axis=1)[:, last]
    steps = np.diff(hits, axis=1, prepend=0.0)
    precision = np.divide(hits, above, out=np.zeros(hits.shape), where=above > 0)
    return _ratio((steps * precision).sum(axis=1), hits[:, -1])


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 1e-12)
