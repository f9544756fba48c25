"""Intervals of means: over classes (balanced accuracy, macro F1, macro AUC), over images (Brier).

Letters: C classes, P patients, B images.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from cerviclip.evaluation.intervals.binomial import NO_WIDTH, Interval
from cerviclip.evaluation.intervals.proportions import few, proportion_intervals

CLASS_MEAN_METHOD = "MOVER of the classes' intervals, correlated by patient"
LOSS_METHOD = "Student's t over patients on the log scale, with the error rate's upper limit"
LEAST_PROBABILITY = 1e-12
_PSEUDO_PATIENTS = 10.0  # draw the classes' correlations towards 0 as so many patients would
_FEWEST = 10.0  # patients a class below which the upper limit is stretched no further
_PSEUDO_ERRORS = 1.0  # errors as the confidences have them, beside the observed ones


def class_mean_interval(values: np.ndarray, parts: Interval, influence: np.ndarray) -> Interval:
    """Interval of the mean of (C,) metrics from their own intervals (MOVER, Zou and Donner 2008).

    The distance of the mean's limit is the root of the summed squares of the classes' distances,
    with products of two classes weighted by their correlation over patients.

    Args:
        values: (C,) metric of each class; a NaN is left out of the mean.
        parts: (C,) limits of each.
        influence: (P, C) by how much each patient moves each class's metric.
    """
    here = ~np.isnan(values)
    if not here.any():
        return Interval(np.float64(np.nan), np.float64(np.nan))
    values, influence = values[here], influence[:, here]
    mean = values.mean()
    below = _joint_distance(values - parts.low[here], influence)
    above = _joint_distance(parts.high[here] - values, influence) * _stretch(influence)
    return Interval(np.maximum(mean - below, 0.0), np.minimum(mean + above, 1.0))


def _stretch(influence: np.ndarray) -> float:
    """By how much more the upper limit must reach where a class has few patients.

    A class that is all right has nothing above it, and F1 and AUC of small classes lie too low.
    """
    patients, classes = influence.shape
    return float(np.sqrt(few(max(patients / classes, _FEWEST))))


def _joint_distance(distances: np.ndarray, influence: np.ndarray) -> np.ndarray:
    """Root of distances' quadratic form in their correlations, over the number of classes.

    Negative correlations, which narrow the interval, are trusted as far as patients show them.
    """
    length = np.sqrt((influence**2).sum(axis=0))
    unit = np.divide(influence, length, out=np.zeros_like(influence), where=length > 0)
    alone = (distances**2).sum()
    varying = (distances[length > 0] ** 2).sum()
    together = alone + ((unit @ distances) ** 2).sum() - varying
    patients = (np.abs(influence).sum(axis=1) > 0).sum()
    trust = patients / (patients + _PSEUDO_PATIENTS)
    cautious = max(together, trust * together + (1 - trust) * alone)
    return np.sqrt(max(cautious, 0.0)) / len(distances)


def loss_interval(
    losses: np.ndarray,
    if_wrong: np.ndarray,
    right: np.ndarray,
    patients: np.ndarray,
    top: float = np.inf,
    level: float = 0.95,
) -> Interval:
    """Interval of the mean over images of a loss that is never negative (Brier, log loss).

    The mean is skewed to the right, so Student's interval over patients is taken on the log scale.
    Most of a loss comes from a few wrong images, and few patients may show none of them. So the
    upper limit is at least what follows if the error rate is at its own upper limit.

    Args:
        losses: (B,) of each image.
        if_wrong: (B,) what each image's loss is where its predicted class is wrong; for a right
            image what it would be, with the second most probable class as the true one.
        right: (B,) true where the predicted class is right.
        patients: (B,) patient numbers from 0.
        top: greatest value that a loss can take.
        level: nominal coverage.
    """
    images, sums = np.bincount(patients), np.bincount(patients, losses)
    errors = np.bincount(patients, ~right)
    count, total, mean = (images > 0).sum(), len(losses), losses.mean()
    squares = ((sums - mean * images) ** 2).sum() * count / max(count - 1, 1)
    wide = (
        stdtrit(max(count - 1, 1), 0.5 + level / 2) * np.sqrt(squares) / (total * max(mean, 1e-12))
    )
    most = proportion_intervals(errors, images, level).high[0] - errors.sum() / total
    seen = if_wrong[~right].sum() + if_wrong.mean() * _PSEUDO_ERRORS
    of_error = seen / ((~right).sum() + _PSEUDO_ERRORS)
    of_right = losses[right].mean() if right.any() else 0.0
    unseen = mean + most * max(of_error - of_right, 0.0)
    high = min(max(mean * np.exp(min(wide, 50.0)), unseen), top)
    low = mean * np.exp(-wide)
    if high - low <= NO_WIDTH * max(mean, 1e-12):  # all losses are equal: no patient shows another
        share = 1 / (2 * count)  # as if half a patient had no loss at all, or the greatest
        low = mean * (1 - share)
        high = min(mean * (1 + share), top)
    return Interval(np.float64(low), np.float64(high))


def brier_losses(labels: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B,) squared distances of (B, C) probabilities from the truth, and ``if_wrong`` of them."""
    norm = (probs**2).sum(axis=1) + 1
    true, second = _true_and_second(labels, probs)
    return norm - 2 * true, norm - 2 * second


def log_losses(labels: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B,) negative logarithms of the true class's probability, and ``if_wrong`` of them."""
    true, second = (np.maximum(x, LEAST_PROBABILITY) for x in _true_and_second(labels, probs))
    return -np.log(true), -np.log(second)


def _true_and_second(labels: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the true class, and that of the likeliest true class if the first is wrong."""
    true = probs[np.arange(len(labels)), labels]
    right = probs.argmax(axis=1) == labels
    return true, np.where(right, np.sort(probs, axis=1)[:, -2], true)
