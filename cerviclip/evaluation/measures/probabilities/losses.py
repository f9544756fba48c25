"""Proper scores (Brier, log loss) and calibration errors with their intervals.

Letters: B images, C classes, P patients, K bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cerviclip.evaluation.bootstrap import (
    ECE_BINS,
    MIN_PATIENTS,
    calibration_gaps,
    patient_draws,
)
from cerviclip.evaluation.intervals import ece_interval, loss_interval, proportion_intervals
from cerviclip.evaluation.intervals.means import brier_losses, log_losses
from cerviclip.evaluation.measures.sample import FEW_PATIENTS, LEVEL, Sample, metric

NO_INTERVAL = "no interval was shown to cover for this metric"


def loss_cells(labels: np.ndarray, probs: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    """``brier`` (sum over classes, 0 to 2) and ``log_loss`` (nats) of (B, C) probabilities."""
    right, out = labels == probs.argmax(axis=1), {}
    enough = patients.max() + 1 >= MIN_PATIENTS
    for name, function, top in (("brier", brier_losses, 2.0), ("log_loss", log_losses, np.inf)):
        losses, if_wrong = function(labels, probs)
        losses, if_wrong = np.maximum(losses, 0.0), np.maximum(if_wrong, 0.0)
        limits = loss_interval(losses, if_wrong, right, patients, top, LEVEL) if enough else None
        out[name] = metric(losses.mean(), limits, FEW_PATIENTS)
    return out


def top_label_ece(sample: Sample) -> dict[str, Any]:
    """Calibration error of the predicted class in 15 equal bins, 0 to 1."""
    of = (sample.labels, sample.probs, sample.predicted, sample.patients)
    gaps, images = calibration_gaps(*of)
    right = sample.labels == sample.predicted
    limits = (np.nan, np.nan)
    if len(images) >= MIN_PATIENTS:
        hits = np.bincount(sample.patients, right, len(images))
        low, high = proportion_intervals(hits, images, LEVEL)
        limits = low[0], high[0]
    return _ece(gaps, images, right.mean(), limits)


def binary_ece(sample: Sample, score: np.ndarray) -> dict[str, Any]:
    """Calibration error of (B,) probabilities of the positive group in 15 equal bins, 0 to 1."""
    count = sample.n_patients
    cells = sample.patients * ECE_BINS + bins_of(score)
    gaps = np.bincount(cells, sample.is_positive - score, count * ECE_BINS)
    images = np.bincount(sample.patients)
    share = sample.is_positive.mean()
    return _ece(gaps.reshape(-1, ECE_BINS), images, share, sample.share_limits)


def _ece(
    gaps: np.ndarray, images: np.ndarray, share: float, limits: tuple[float, float]
) -> dict[str, Any]:
    """From (P, K) gaps: the value, and an interval that few patients do not fool.

    Args:
        gaps: sums over each patient's images of the outcome (0 or 1) less its probability.
        images: (P,) of each patient.
        share: of images with the outcome.
        limits: of ``share``.
    """
    value = np.abs(gaps.sum(axis=0)).sum() / images.sum()
    if len(images) < MIN_PATIENTS:
        return metric(value, reason=FEW_PATIENTS)
    reach = (share - limits[0], limits[1] - share)
    return metric(value, ece_interval(gaps, images, patient_draws(len(images)), reach, LEVEL))


def classwise_ece(sample: Sample) -> dict[str, Any]:
    """Mean over classes of the calibration error of each class's own probability, 0 to 1."""
    total = 0.0
    for c in range(len(sample.classnames)):
        probs = sample.probs[:, c]
        gap = np.bincount(bins_of(probs), (sample.labels == c) - probs, ECE_BINS)
        total += np.abs(gap).sum() / len(sample)
    return metric(total / len(sample.classnames), reason=NO_INTERVAL)


def bins_of(probs: np.ndarray, bins: int = ECE_BINS) -> np.ndarray:
    """(B,) numbers of equal bins with open lower edges, as in ``bootstrap.calibration_gaps``."""
    return np.clip(np.ceil(probs * bins).astype(np.int64) - 1, 0, bins - 1)
