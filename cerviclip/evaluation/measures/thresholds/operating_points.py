"""Operating points: thresholds of the positive-group probability, chosen at home and carried.

An image is called positive where its probability is at or above the threshold. ``choose`` sees one
sample, that of home. Every other centre gets ``apply`` with the thresholds as they are.

Letters: B images, T thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cerviclip.evaluation.measures.sample import FEW_PATIENTS, Sample, metric, proportions_of
from cerviclip.evaluation.measures.thresholds.likelihood import (
    negative_value,
    positive_value,
    ratio_interval,
)

TARGET = 0.95
SENSITIVITY, SPECIFICITY, YOUDEN, COST = "sensitivity_95", "specificity_95", "youden", "cost"
POINTS = (SENSITIVITY, SPECIFICITY, YOUDEN, COST)
NO_COST = "no cost of a missed positive is stated (TEST.MISS_COST)"
_RATES = ("sensitivity", "specificity", "ppv", "npv")


def candidates(score: np.ndarray) -> np.ndarray:
    """(T,) rising thresholds, one for each way to part the (B,) scores.

    Each lies half-way between neighbouring scores, so that rounding moves no image of home across
    it. The first calls all images positive, the last none.
    """
    values = np.unique(score)
    last = (values[-1] + 1) / 2 if values[-1] < 1 else np.nextafter(1.0, 2.0)
    return np.concatenate([[values[0] / 2], (values[1:] + values[:-1]) / 2, [last]])


def rates_at(
    score: np.ndarray, is_positive: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and specificity (T,) in 0-1 at each threshold; both kinds must be there."""
    positive, negative = np.sort(score[is_positive]), np.sort(score[~is_positive])
    missed = np.searchsorted(positive, thresholds, side="left")
    cleared = np.searchsorted(negative, thresholds, side="left")
    return 1 - missed / len(positive), cleared / len(negative)


def choose(sample: Sample, miss_cost: float = 0.0) -> dict[str, float]:
    """The thresholds of a sample; empty where it has no positive or no negative image.

    ``sensitivity_95`` is the highest threshold that keeps 95 % sensitivity, ``specificity_95`` the
    lowest that keeps 95 % specificity. ``youden`` has the greatest sum of both. ``cost`` has the
    least cost at the sample's own share of positives; a missed positive costs ``miss_cost`` false
    alarms. Of equal thresholds the lowest is taken, which misses the fewest.
    """
    if sample.no_binary:
        return {}
    thresholds = candidates(sample.score)
    sensitivity, specificity = rates_at(sample.score, sample.is_positive, thresholds)
    enough = sensitivity >= TARGET - 1e-12
    found = {
        SENSITIVITY: thresholds[np.flatnonzero(enough)[-1]],
        SPECIFICITY: thresholds[np.flatnonzero(specificity >= TARGET - 1e-12)[0]],
        YOUDEN: thresholds[_first_best(sensitivity + specificity)],
    }
    if miss_cost > 0:
        share = sample.is_positive.mean()
        cost = miss_cost * share * (1 - sensitivity) + (1 - share) * (1 - specificity)
        found[COST] = thresholds[_first_best(-cost)]
    return {name: float(threshold) for name, threshold in found.items()}


def _first_best(values: np.ndarray) -> int:
    """Index of the first value that is the greatest but for rounding."""
    return int(np.flatnonzero(values >= values.max() - 1e-12)[0])


def apply(
    sample: Sample,
    thresholds: Mapping[str, float | np.ndarray],
    prevalences: Sequence[float] = (),
    miss_cost: float = 0.0,
) -> dict[str, Any]:
    """What carried thresholds do at one centre.

    Args:
        sample: of the centre.
        thresholds: point -> threshold; of each image, (B,), where it differs from fold to fold.
        prevalences: shares of positives for which PPV and NPV are given.
        miss_cost: as of ``choose``.

    Returns:
        point -> ``sensitivity specificity ppv npv`` (percent), ``lr_positive lr_negative``,
        ``ppv_at npv_at`` (prevalence -> percent), ``own_best`` (the threshold that the same rule
        would choose here, and its rates) and ``loss``: by how many points sensitivity, specificity
        and Youden's index are below those of ``own_best`` (negative where above).
    """
    if sample.no_group or not len(sample):
        return {name: {"reason": sample.no_binary} for name in thresholds}
    counted = _rates_with_intervals(sample, list(thresholds.values()))
    own = choose(sample, miss_cost)
    out: dict[str, Any] = {}
    for (name, threshold), (values, limits) in zip(thresholds.items(), counted, strict=True):
        entry = _cells(sample, values, limits)
        entry |= _ratios(values, limits, prevalences)
        entry |= _beside_own_best(sample, threshold, values[:2], own.get(name))
        out[name] = entry
    return out


def _rates_with_intervals(
    sample: Sample, thresholds: Sequence[float | np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each threshold (4,) values and (2, 4) limits of ``_RATES`` in 0-1."""
    if not thresholds:
        return []
    hits, trials = rate_counts(sample, thresholds)
    values, limits = proportions_of(sample, hits, trials)
    size = len(_RATES)
    return [(values[i : i + size], limits[:, i : i + size]) for i in range(0, len(values), size)]


def rate_counts(
    sample: Sample, thresholds: Sequence[float | np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Images of each patient, (4 T, P) hits and trials: ``_RATES`` at each threshold."""
    truth, count = sample.is_positive, sample.n_patients
    hits, trials = [], []
    for threshold in thresholds:
        said = sample.score >= threshold
        for right, of in ((True, truth), (False, ~truth), (True, said), (False, ~said)):
            true_call = of & (truth == said) & (said == right)
            hits.append(np.bincount(sample.patients[true_call], minlength=count))
            trials.append(np.bincount(sample.patients[of], minlength=count))
    return np.array(hits), np.array(trials)


def _cells(sample: Sample, values: np.ndarray, limits: np.ndarray) -> dict[str, Any]:
    missing = {
        "sensitivity": "no positive image here",
        "specificity": "no negative image here",
        "ppv": "no image is called positive",
        "npv": "no image is called negative",
    }
    return {
        name: metric(
            100 * values[i],
            100 * limits[:, i],
            missing[name] if np.isnan(values[i]) else FEW_PATIENTS,
        )
        for i, name in enumerate(_RATES)
    }


def _ratios(values: np.ndarray, limits: np.ndarray, prevalences: Sequence[float]) -> dict[str, Any]:
    """Likelihood ratios, and the predictive values that follow from them."""
    sensitivity, specificity = values[:2]
    positives, negatives = limits[:, 0], limits[:, 1]
    plus = ratio_interval(sensitivity, positives, 1 - specificity, (1 - negatives)[::-1])
    minus = ratio_interval(1 - sensitivity, (1 - positives)[::-1], specificity, negatives)
    reason = "positive or negative images are missing here, or too few patients for an interval"
    never = "infinite: no false alarm was seen"
    at = {f"{share:g}": share for share in prevalences}
    return {
        "lr_positive": metric(plus[0], plus[1:], never if plus[0] == np.inf else reason),
        "lr_negative": metric(minus[0], minus[1:], reason),
        "ppv_at": {
            text: metric(*_percent(positive_value(np.array(plus), share)), reason)
            for text, share in at.items()
        },
        "npv_at": {
            text: metric(*_percent(negative_value(np.array(minus), share)[[0, 2, 1]]), reason)
            for text, share in at.items()
        },
    }


def _percent(found: np.ndarray) -> tuple[float, np.ndarray]:
    return 100 * found[0], 100 * found[1:]


def _beside_own_best(
    sample: Sample, carried: float | np.ndarray, rates: np.ndarray, own: float | None
) -> dict[str, Any]:
    if own is None:
        return {"own_best": None, "loss": None, "loss_reason": sample.no_binary}
    at = np.array([own if np.ndim(carried) else carried, own])
    sensitivity, specificity = (100 * r for r in rates_at(sample.score, sample.is_positive, at))
    if np.ndim(carried):
        sensitivity[0], specificity[0] = 100 * rates
    youden = sensitivity + specificity - 100
    found = {"sensitivity": sensitivity, "specificity": specificity, "youden": youden}
    return {
        "own_best": {"threshold": own} | {name: float(r[1]) for name, r in found.items()},
        "loss": {name: float(r[1] - r[0]) for name, r in found.items()},
    }


def same_threshold(thresholds: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Operating points that have one threshold -> it; most often each has its own.

    Args:
        thresholds: point -> threshold, or the thresholds of its folds.
    """
    found: dict[tuple[float, ...], list[str]] = {}
    for name, threshold in thresholds.items():
        found.setdefault(tuple(np.atleast_1d(threshold)), []).append(name)
    return {tuple(names): thresholds[names[0]] for names in found.values()}
