"""The interval of every metric of one centre, each by the method that suits it.

Letters: P patients, B images, C classes, M proportions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cerviclip.evaluation.bootstrap import (
    N_RESAMPLES,
    SEED,
    calibration_gaps,
    class_counts,
    patient_draws,
)
from cerviclip.evaluation.intervals import (
    Interval,
    auc,
    calibration,
    class_mean_interval,
    ece_interval,
    means,
    proportions,
    several_auc_intervals,
    several_proportion_intervals,
)

LEVEL = 0.95
BOOTSTRAP_METHOD = "percentiles of resampled patients"
_ONE_BY_ONE = {"ece": calibration.METHOD, "binary/auc": auc.METHOD}
_MEANS = dict.fromkeys(("balanced_accuracy", "macro_f1", "macro_auc"), means.CLASS_MEAN_METHOD)
METHODS = _ONE_BY_ONE | _MEANS  # metric -> method; all others are proportions


def uncertainty(unit: str) -> dict[str, Any]:
    """What results.json says of a centre's intervals; ``unit``: patient or image."""
    return {
        "method": {"default": proportions.METHOD, **METHODS},
        "level": LEVEL,
        "unit": unit,
        "resamples": N_RESAMPLES,  # of the calibration error alone
        "undefined_resamples": {},  # a resample of patients always has a calibration error
        "seed": SEED,
    }


def bootstrap_uncertainty(unit: str, samples: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The same of intervals by resampled patients.

    Args:
        unit: patient or image.
        samples: metric -> (R, ...) values of the resamples, NaN where undefined.
    """
    undefined = {name: int(np.isnan(rows).sum()) for name, rows in samples.items()}
    return {
        "method": {"default": BOOTSTRAP_METHOD},
        "level": LEVEL,
        "unit": unit,
        "resamples": N_RESAMPLES,
        "undefined_resamples": {name: count for name, count in undefined.items() if count},
        "seed": SEED,
    }


def without_small_groups(
    bounds: Mapping[str, np.ndarray], carriers: Mapping[str, np.ndarray], least: int
) -> dict[str, np.ndarray]:
    """Limits by resampling, NaN where fewer than ``least`` patients carry a metric.

    Where one patient is the only one of a group, each resample has her or has no value: its limits
    would have no width.

    Args:
        bounds: metric -> (2,) or (2, C).
        carriers: metric -> () or (C,) patients, from ``carriers_of``.
        least: patients that an interval needs.
    """
    return {
        name: np.where(carriers[name] < least, np.nan, limits) if name in carriers else limits
        for name, limits in bounds.items()
    }


def carriers_of(
    labels: np.ndarray,
    predictions: np.ndarray,
    patients: np.ndarray,
    n_classes: int,
    group: np.ndarray,
) -> dict[str, np.ndarray]:
    """How many patients of its group each metric rests on; all patients carry the others.

    Of a mean over classes, and of an AUC, the smallest group counts.

    Returns:
        metric -> () or (C,) patients.
    """

    def patients_with(images: np.ndarray) -> np.ndarray:
        return (images > 0).sum(axis=0)

    _, support, predicted = class_counts(labels, predictions, patients, n_classes)
    of_class, of_others = (
        patients_with(part) for part in (support, support.sum(axis=1)[:, None] - support)
    )
    here = of_class > 0
    out = {
        "recall": of_class,
        "precision": patients_with(predicted),
        "f1": patients_with(support + predicted),
        "balanced_accuracy": of_class[here].min(),
        "macro_f1": of_class[here].min(),
        "macro_auc": np.minimum(of_class, of_others)[here].min(),
    }
    if group.any():
        positive, said = (group[part].astype(np.int64) for part in (labels, predictions))
        _, support, predicted = class_counts(positive, said, patients, 2)
        negatives, positives = patients_with(support)
        said_negative, said_positive = patients_with(predicted)
        out |= {
            "binary/sensitivity": positives,
            "binary/specificity": negatives,
            "binary/ppv": said_positive,
            "binary/npv": said_negative,
            "binary/auc": min(positives, negatives),
        }
    return out


def center_bounds(
    labels: np.ndarray,
    probs: np.ndarray,
    predictions: np.ndarray,
    patients: np.ndarray,
    group: np.ndarray,
) -> dict[str, np.ndarray]:
    """Limits of all metrics of ``bootstrap.weighted_metrics``, in its names and units.

    Args:
        labels: (B,) true classes.
        probs: (B, C) class probabilities.
        predictions: (B,) predicted classes.
        patients: (B,) patient numbers from 0.
        group: (C,) true for classes of the positive group; none for no binary metrics.

    Returns:
        name -> (2,) or (2, C); NaN where a metric is undefined.
    """
    is_positive = group[labels]
    counts = class_counts(labels, predictions, patients, probs.shape[1])
    hits, support, predicted = counts
    rows = [_side_by_side(hits, support, predicted, support + predicted - hits)]
    if group.any():
        of = is_positive.astype(np.int64), group[predictions].astype(np.int64)
        rows.append(_side_by_side(*class_counts(*of, patients, 2)))
    limits = [np.stack(found) for found in several_proportion_intervals(rows, LEVEL)]

    present = np.unique(labels)
    tasks = [(probs[:, c], labels == c) for c in present] if len(present) > 1 else []
    macro = len(tasks)
    if group.any() and is_positive.any() and not is_positive.all():
        tasks.append((probs[:, group].sum(axis=1), is_positive))
    aucs = several_auc_intervals(tasks, patients, LEVEL)

    out = _predicted_class_bounds(*counts, limits[0])
    out["macro_auc"] = _macro_auc(aucs[:macro])
    out["ece"] = _ece(labels, probs, predictions, patients, out["accuracy"] / 100)
    names = ("accuracy", "specificity", "sensitivity", "npv", "ppv") if group.any() else ()
    out |= {f"binary/{name}": 100 * limits[1][:, i] for i, name in enumerate(names)}
    if len(aucs) > macro:
        out["binary/auc"] = np.array(aucs[-1][:2])
    return out


def _side_by_side(hits: np.ndarray, *trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M, P) hits and trials of all images, then of each class of each (P, C) kind of trials."""
    everything = hits.sum(axis=1)[:, None], trials[0].sum(axis=1)[:, None]
    return (
        np.concatenate([everything[0], *[hits] * len(trials)], axis=1).T,
        np.concatenate([everything[1], *trials], axis=1).T,
    )


def _predicted_class_bounds(
    hits: np.ndarray, support: np.ndarray, predicted: np.ndarray, limits: np.ndarray
) -> dict[str, np.ndarray]:
    """Accuracy, the classes' metrics and their means, in percent.

    Args:
        hits, support, predicted: of ``class_counts``.
        limits: (2, 1 + 3 C) of the shares of ``hits`` among all images, and among those of each
            class, said to be of it, and either.
    """
    either, n_classes = support + predicted - hits, hits.shape[1]
    overall, recall, precision, jaccard = np.split(limits, [1, 1 + n_classes, 1 + 2 * n_classes], 1)
    f1 = _f1(jaccard)
    here = support.sum(axis=0) > 0
    balanced = _mean_over_classes(hits[:, here], support[:, here], recall[:, here])
    macro_f1 = _mean_over_classes(hits[:, here], either[:, here], f1[:, here], as_f1=True)
    return {
        "accuracy": 100 * overall[:, 0],
        "balanced_accuracy": 100 * balanced,
        "macro_f1": 100 * macro_f1,
        "precision": 100 * precision,
        "recall": 100 * recall,
        "f1": 100 * f1,
    }


def _f1(jaccard: np.ndarray) -> np.ndarray:
    """F1 is a function of the share of hits among images of the class, or said to be."""
    return 2 * jaccard / (1 + jaccard)


def _mean_over_classes(
    hits: np.ndarray, trials: np.ndarray, limits: np.ndarray, as_f1: bool = False
) -> np.ndarray:
    """(2,) limits of the mean of the classes' ratios, or of their F1."""
    total = trials.sum(axis=0)
    ratio = hits.sum(axis=0) / total
    influence = (hits - ratio * trials) / total  # (P, C); in any unit: F1 rises with the ratio
    values = _f1(ratio) if as_f1 else ratio
    return np.stack(class_mean_interval(values, Interval(*limits), influence))


def _macro_auc(aucs: Sequence[tuple[float, float, auc.Placements]]) -> np.ndarray:
    """(2,) limits of the mean over the classes' AUCs; NaN where there are none."""
    if not aucs:
        return np.full(2, np.nan)
    low, high, placed = zip(*aucs, strict=True)
    values = np.array([p.auc[0] for p in placed])
    influence = np.stack([p.influence[0] for p in placed], axis=1)
    limits = Interval(np.array(low), np.array(high))
    return np.stack(class_mean_interval(values, limits, influence))


def _ece(
    labels: np.ndarray,
    probs: np.ndarray,
    predictions: np.ndarray,
    patients: np.ndarray,
    accuracy: np.ndarray,
) -> np.ndarray:
    gaps, images = calibration_gaps(labels, probs, predictions, patients)
    share = (labels == predictions).mean()
    reach = (share - accuracy[0], accuracy[1] - share)
    return np.stack(ece_interval(gaps, images, patient_draws(len(images)), reach, LEVEL))
