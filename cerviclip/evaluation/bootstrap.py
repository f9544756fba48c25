"""Every metric of one centre on many resamples of its patients at once.

A resample draws as many patients as there are, with replacement; so a patient, and every image of
hers, has a whole-number weight. All metrics are functions of weighted sums, and the sums of all
resamples are matrix products. A loop over scikit-learn would take longer than the runs themselves.

Letters: R resamples, P patients, B images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

N_RESAMPLES = 1000
SEED = 20221017
ECE_BINS = 15
MIN_PATIENTS = 3
_CHUNK = 4_000_000  # weights held at once while AUCs are computed (32 MB)


@lru_cache(maxsize=32)
def patient_draws(n_patients: int, n_resamples: int = N_RESAMPLES, seed: int = SEED) -> np.ndarray:
    """How often each patient is drawn: (R, P) counts, each row summing to P."""
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=n_resamples)
    weights = draws.astype(np.float64)
    weights.flags.writeable = False  # shared by all callers
    return weights


def patient_indices(patient_ids: Sequence[str], n_images: int) -> tuple[np.ndarray, int]:
    """Number the patients; an image without an id is a patient of its own.

    Returns:
        (B,) patient numbers and the count of patients.
    """
    numbers: dict[object, int] = {}
    ids = list(patient_ids) if len(patient_ids) else [""] * n_images
    keys = [pid if pid else (i,) for i, pid in enumerate(ids)]
    index = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    return index, len(numbers)


def weighted_metrics(
    labels: np.ndarray,
    probs: np.ndarray,
    predictions: np.ndarray,
    patients: np.ndarray,
    weights: np.ndarray,
    positive: Sequence[int] = (),
) -> dict[str, np.ndarray]:
    """All metrics under each row of patient weights; NaN where one is undefined.

    Args:
        labels: (B,) true classes.
        probs: (B, C) class probabilities.
        predictions: (B,) predicted classes.
        patients: (B,) patient number of each image.
        weights: (R, P) whole-number weights (all ones gives the point values).
        positive: class numbers of the positive group; empty for no binary metrics.

    Returns:
        name -> (R,) values, or (R, C) for ``precision recall f1``; AUC and ECE in 0-1, the rest in
        percent; binary ones are named ``binary/accuracy`` and so on.
    """
    n_classes = probs.shape[1]
    out = confusion_metrics(labels, predictions, patients, weights, n_classes)
    out["ece"] = weighted_ece(labels, probs, predictions, patients, weights)
    present = np.unique(labels)
    aucs = [weighted_auc(probs[:, c], labels == c, patients, weights) for c in present]
    out["macro_auc"] = _nanmean(np.stack(aucs, axis=1))
    group = np.isin(np.arange(n_classes), np.asarray(positive, dtype=np.int64))
    if group.any():
        out.update(_binary(group[labels], group[predictions], patients, weights))
        out["binary/auc"] = weighted_auc(
            probs[:, group].sum(axis=1), group[labels], patients, weights
        )
    return out


def confusion_metrics(
    labels: np.ndarray,
    predictions: np.ndarray,
    patients: np.ndarray,
    weights: np.ndarray,
    n_classes: int,
) -> dict[str, np.ndarray]:
    """Those of ``weighted_metrics`` that the predicted classes alone decide, in percent."""
    hits, support, predicted = (
        weights @ counts for counts in class_counts(labels, predictions, patients, n_classes)
    )
    recall = _ratio(hits, support)
    # A class without images is missing, not zero; one that has images but is never predicted
    # has no precision, and an F1 of 0 as 2TP / (2TP + FP + FN) says.
    f1 = np.where(support > 0, _ratio(2 * hits, support + predicted), np.nan)
    precision = np.where(support > 0, _ratio(hits, predicted), np.nan)
    return {
        "accuracy": 100 * _ratio(hits.sum(axis=1), support.sum(axis=1)),
        "balanced_accuracy": 100 * _nanmean(recall),
        "macro_f1": 100 * _nanmean(f1),
        "precision": 100 * precision,
        "recall": 100 * recall,
        "f1": 100 * f1,
    }


def class_counts(
    labels: np.ndarray, predictions: np.ndarray, patients: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of each patient by class, (P, C) each: rightly predicted, true, predicted.

    Every metric of the predicted class follows from these, without (P, C, C) confusions.
    """
    n_patients = patients.max() + 1

    def count(classes: np.ndarray, chosen: np.ndarray | slice) -> np.ndarray:
        cells = patients[chosen] * n_classes + classes[chosen]
        counts = np.bincount(cells, minlength=n_patients * n_classes)
        return counts.reshape(n_patients, n_classes).astype(np.float64)

    everything = slice(None)
    return (
        count(labels, predictions == labels),
        count(labels, everything),
        count(predictions, everything),
    )


def intervals(samples: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Percentile intervals of each column of (R, M) samples: (2, M), NaN samples left out."""
    tail = 100 * (1 - level) / 2
    bounds = np.full((2, samples.shape[1]), np.nan)
    whole = ~np.isnan(samples).any(axis=0)
    if whole.any():
        bounds[:, whole] = np.percentile(samples[:, whole], (tail, 100 - tail), axis=0)
    for column in np.flatnonzero(~whole):
        values = samples[:, column]
        values = values[~np.isnan(values)]
        if len(values):
            bounds[:, column] = np.percentile(values, (tail, 100 - tail))
    return bounds


def _binary(
    is_positive: np.ndarray, said_positive: np.ndarray, patients: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Positive group against the rest, by the predicted class."""
    hits, support, predicted = (
        weights @ counts
        for counts in class_counts(
            is_positive.astype(np.int64), said_positive.astype(np.int64), patients, 2
        )
    )
    return {
        "binary/accuracy": 100 * _ratio(hits.sum(axis=1), support.sum(axis=1)),
        "binary/sensitivity": 100 * _ratio(hits[:, 1], support[:, 1]),
        "binary/specificity": 100 * _ratio(hits[:, 0], support[:, 0]),
        "binary/ppv": 100 * _ratio(hits[:, 1], predicted[:, 1]),
        "binary/npv": 100 * _ratio(hits[:, 0], predicted[:, 0]),
    }


def calibration_gaps(
    labels: np.ndarray, probs: np.ndarray, predictions: np.ndarray, patients: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(P, ECE_BINS) sums of right (0 or 1) less confidence, and (P,) images of each patient.

    Bins are equal, their lower edges open.
    """
    n_patients = patients.max() + 1
    confidence = probs[np.arange(len(labels)), predictions]
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gap = (predictions == labels) - confidence
    gaps = np.bincount(patients * ECE_BINS + bins, gap, n_patients * ECE_BINS)
    return gaps.reshape(n_patients, ECE_BINS), np.bincount(patients)


def weighted_ece(
    labels: np.ndarray,
    probs: np.ndarray,
    predictions: np.ndarray,
    patients: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Expected calibration error of the predicted class."""
    gaps, images = calibration_gaps(labels, probs, predictions, patients)
    return _ratio(np.abs(weights @ gaps).sum(axis=1), weights @ images)


def weighted_auc(
    scores: np.ndarray, is_positive: np.ndarray, patients: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """(R,) area under the ROC curve, ties counted one half; NaN without positives or negatives.

    The scores are sorted once. In each resample a positive wins the weight of the negatives below
    it, which is a running sum of weights in the order of scores.
    """
    order = np.argsort(scores[~is_positive], kind="stable")
    sorted_negatives = scores[~is_positive][order]
    negatives, positives = patients[~is_positive][order], patients[is_positive]
    below = np.searchsorted(sorted_negatives, scores[is_positive], side="left")
    up_to = np.searchsorted(sorted_negatives, scores[is_positive], side="right")
    rows = max(1, _CHUNK // len(scores))
    out = []
    for start in range(0, len(weights), rows):
        part = np.ascontiguousarray(weights[start : start + rows].T)  # (P, R)
        running = np.zeros((len(negatives) + 1, part.shape[1]))
        np.cumsum(part[negatives], axis=0, out=running[1:])
        ahead = part[positives]
        wins = 0.5 * np.einsum("ij,ij->j", ahead, running[below] + running[up_to])
        out.append(_ratio(wins, ahead.sum(axis=0) * running[-1]))
    return np.concatenate(out)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """``top / bottom``, NaN where the bottom is zero, without numpy's warnings."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the defined values; NaN where there is none."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))
