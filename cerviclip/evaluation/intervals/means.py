"""Intervals of means: over classes (balanced accuracy, macro F1, macro AUC), over images (Brier).

Letters: C classes, P patients, B images.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import t

from cerviclip.evaluation.intervals.binomial import Interval

CLASS_MEAN_METHOD = "MOVER of the classes' intervals, correlated by patient"
IMAGE_MEAN_METHOD = "Student's t on patients, log scale"
_PSEUDO_PATIENTS = 10.0  # draw the classes' correlations towards 0 as so many patients would


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
    above = _joint_distance(parts.high[here] - values, influence)
    return Interval(np.maximum(mean - below, 0.0), np.minimum(mean + above, 1.0))


def _joint_distance(distances: np.ndarray, influence: np.ndarray) -> np.ndarray:
    """Root of distances' quadratic form in their correlations, over the number of classes."""
    length = np.sqrt((influence**2).sum(axis=0))
    unit = np.divide(influence, length, out=np.zeros_like(influence), where=length > 0)
    alone = (distances**2).sum()
    varying = (distances[length > 0] ** 2).sum()
    together = alone + ((unit @ distances) ** 2).sum() - varying
    patients = (np.abs(influence).sum(axis=1) > 0).sum()
    trust = patients / (patients + _PSEUDO_PATIENTS)
    return np.sqrt(max(trust * together + (1 - trust) * alone, 0.0)) / len(distances)


def image_mean_interval(
    losses: np.ndarray, patients: np.ndarray, top: float = np.inf, level: float = 0.95
) -> Interval:
    """Interval of the mean over images of a loss that is never negative (Brier, log loss).

    The mean is skewed to the right, so the interval is symmetric on the log scale. A half-image of
    the mean loss is added to every patient's spread, so the width is never 0.

    Args:
        losses: (B,) of each image.
        patients: (B,) patient numbers from 0.
        top: greatest value that a loss can take.
        level: nominal coverage.
    """
    images = np.bincount(patients)
    images, sums = images[images > 0], np.bincount(patients, losses)[images > 0]
    count, total = len(images), images.sum()
    mean = sums.sum() / total
    if mean <= 0 or count < 2:
        return Interval(np.float64(0.0), np.float64(top))
    squares = ((sums - mean * images) ** 2).sum() * count / (count - 1)
    wide = t.ppf(0.5 + level / 2, count - 1) * np.sqrt(squares) / (total * mean)
    return Interval(np.float64(mean * np.exp(-wide)), np.float64(min(mean * np.exp(wide), top)))
