"""How well probabilities and predicted classes tell the classes apart at one centre.

Letters: B images, C classes, P patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from cerviclip.evaluation.bootstrap import MIN_PATIENTS
from cerviclip.evaluation.intervals import Interval, loss_interval, several_auc_intervals
from cerviclip.evaluation.intervals.auprc import auprc_limits
from cerviclip.evaluation.intervals.binomial import NO_WIDTH
from cerviclip.evaluation.intervals.measures import kappa_interval
from cerviclip.evaluation.measures.curves import (
    Steps,
    average_precision,
    partial_roc_area,
    roc_area,
)
from cerviclip.evaluation.measures.patients import is_order
from cerviclip.evaluation.measures.probabilities.losses import NO_INTERVAL, loss_cells
from cerviclip.evaluation.measures.sample import FEW_PATIENTS, LEVEL, Sample, Settings, metric
from cerviclip.evaluation.measures.trees import tree_scores

MAX_FPR = 0.1  # of the partial AUC: specificity of 90 % and more
CURVES = ("auc", "auprc", "partial_auc")
NO_ORDER = "the data set declares no order of its classes"
NO_OTHER = "images of one true class have no other kappa, whatever is predicted"
ONE_CLASS = "true and predicted classes are one and the same class"


def discrimination(sample: Sample, settings: Settings) -> dict[str, Any]:
    """A centre's entry of the block ``discrimination``.

    Returns:
        ``per_class`` (class -> ``auc auprc partial_auc`` of it against the rest), their means over
        the classes with images in ``macro``, those of the positive group in ``binary``, ``kappa``
        and ``quadratic_kappa`` (-1 to 1), ``brier``, ``log_loss`` and ``tree``.
    """
    if not len(sample):
        return {"reason": "no images"}
    tasks = [(sample.probs[:, c], sample.labels == c) for c in range(len(sample.classnames))]
    *curves, binary = curve_cells([*tasks, (sample.score, sample.is_positive)], sample.patients)
    if sample.no_group:
        binary = dict.fromkeys(CURVES, metric(np.nan, reason=sample.no_group))
    return {
        "per_class": dict(zip(sample.classnames, curves, strict=True)),
        "macro": _macro(sample, curves),
        "binary": binary,
        "kappa": kappa(sample),
        "quadratic_kappa": quadratic_kappa(sample, settings.order),
        **loss_cells(sample.labels, sample.probs, sample.patients),
        "tree": tree_scores(sample, settings.levels),
    }


def curve_cells(
    tasks: Sequence[tuple[np.ndarray, np.ndarray]], patients: np.ndarray
) -> list[dict[str, Any]]:
    """AUC, area under the precision-recall curve, and partial AUC of each task, 0 to 1.

    The area under the precision-recall curve is average precision. The partial AUC is that of
    specificities of 90 % and more, standardised so that chance has 0.5 (McClish 1989).

    Args:
        tasks: (B,) scores and (B,) true where an image is positive.
        patients: (B,) patient numbers from 0.
    """
    both = [bool(positive.any() and not positive.all()) for _, positive in tasks]
    here = [task for task, there in zip(tasks, both, strict=True) if there]
    found = iter(_defined_cells(here, patients) if here else ())
    cells = []
    for (_, positive), there in zip(tasks, both, strict=True):
        reason = "only one class has images here" if positive.all() else "no image of it here"
        undefined = dict.fromkeys(CURVES, metric(np.nan, reason=reason))
        cells.append(next(found) if there else undefined)
    return cells


def _defined_cells(
    tasks: Sequence[tuple[np.ndarray, np.ndarray]], patients: np.ndarray
) -> list[dict[str, Any]]:
    steps = [Steps.of(*task) for task in tasks]
    precision = [average_precision(s) for s in steps]
    partial = [partial_roc_area(s, MAX_FPR) for s in steps]
    if patients.max() + 1 < MIN_PATIENTS:
        areas = [roc_area(s) for s in steps]
        around: Sequence[Any] = [None] * len(steps)
        auprc: Sequence[Any] = around
    else:
        limits = several_auc_intervals(tasks, patients, LEVEL)
        areas, around = [x[2].auc[0] for x in limits], [x[:2] for x in limits]
        auprc = [auprc_limits(*task, patients, LEVEL)[1:] for task in tasks]
    return [
        {
            "auc": metric(areas[i], around[i], FEW_PATIENTS),
            "auprc": metric(precision[i], auprc[i], FEW_PATIENTS),
            "partial_auc": metric(partial[i], reason=NO_INTERVAL),
        }
        for i in range(len(tasks))
    ]


def _macro(sample: Sample, curves: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the classes with images; the AUC's interval stands in the centre's own entry."""
    out = {}
    for name in CURVES:
        values = [curve[name]["value"] for curve in curves]
        found = [value for value in values if value is not None]
        mean = np.mean(found) if found else np.nan
        reason = NO_INTERVAL if found else "only one class has images here"
        if name == "auc" and found:
            reason = "see macro_auc of the centre"
        out[name] = metric(mean, reason=reason)
    return out


def quadratic_kappa(sample: Sample, order: Sequence[str]) -> dict[str, Any]:
    """Kappa that weighs a mistake by its squared distance in ranks.

    A few far mistakes decide it, so the delta method's interval, which `kappa` takes, is too narrow
    here: that of resampled patients is taken (docs/evaluation.md).
    """
    if not is_order(order, sample.classnames):
        return metric(np.nan, reason=NO_ORDER)
    if not len(sample):
        return metric(np.nan, reason="no images")
    ranks = np.argsort(np.argsort([order.index(name) for name in sample.classnames]))
    ordered = sample.probs[:, np.argsort(ranks)]
    ordered[np.arange(len(sample)), ranks[sample.predicted]] += 1e-9  # equal ones are told apart
    found = kappa_interval(ranks[sample.labels], ordered, sample.patients, quadratic=True)
    if np.isnan(found.value):
        return metric(np.nan, reason=ONE_CLASS)
    if sample.n_patients < MIN_PATIENTS:
        return metric(found.value, reason=FEW_PATIENTS)
    return metric(found.value, (found.low, found.high), NO_OTHER)


def kappa(sample: Sample) -> dict[str, Any]:
    """Cohen's kappa of true and predicted class.

    Its standard error is the delta method's, summed by patient. As few patients may show no
    mistake, the lower limit is no higher than what the upper limit of the errors gives. Where no
    patient moves kappa (all are wrong in the same way) the upper limit is what the lower limit of
    the errors gives.
    """
    if not len(sample):
        return metric(np.nan, reason="no images")
    weights = 1.0 - np.eye(len(sample.classnames))
    value, influence, expected = kappa_influence(sample.labels, sample.predicted, weights)
    if np.isnan(value):
        return metric(value, reason=ONE_CLASS)
    count = sample.n_patients
    if count < MIN_PATIENTS:
        return metric(value, reason=FEW_PATIENTS)
    parts = np.bincount(sample.patients, influence, count) / len(sample)
    error = np.sqrt((parts**2).sum() * count / (count - 1))
    reach = stdtrit(count - 1, 0.5 + LEVEL / 2) * error
    errors = _disagreement(sample, weights)
    low, high = min(value - reach, 1 - errors.high / expected), value + reach
    if high - low < NO_WIDTH:
        high = max(high, 1 - errors.low / expected)
    return metric(value, (max(low, -1.0), min(high, 1.0)))


def kappa_influence(
    labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray, float]:
    """Kappa, (B,) how each image moves it, and the disagreement that chance would give."""
    n_classes = len(weights)
    true = np.bincount(labels, minlength=n_classes) / len(labels)
    said = np.bincount(predicted, minlength=n_classes) / len(labels)
    expected = float(true @ weights @ said)
    if expected <= 0:
        return np.nan, np.zeros(len(labels)), 0.0
    losses = weights[labels, predicted]
    observed = losses.mean()
    by_chance = (weights @ said)[labels] + (true @ weights)[predicted] - 2 * expected
    influence = -(losses - observed) / expected + observed / expected**2 * by_chance
    return float(1 - observed / expected), influence, expected


def _disagreement(sample: Sample, weights: np.ndarray) -> Interval:
    """Interval of the mean weight of mistakes."""
    right = sample.labels == sample.predicted
    losses = weights[sample.labels, sample.predicted]
    second = np.argsort(-sample.probs, axis=1, kind="stable")[:, 1]
    if_wrong = np.where(right, weights[second, sample.predicted], losses)
    return loss_interval(losses, if_wrong, right, sample.patients, 1.0, LEVEL)
