"""Interval of any statistic of labels and scores, by a Bayesian bootstrap with imagined patients.

A resample gives each patient a random weight (Rubin 1981), so all of them stay in it and a
statistic is seldom undefined. But weights cannot show what no patient shows: with ten patients all
right, each resample has all right. So the resamples are taken twice: once with an imagined patient
whose images are those of a real one with the scores turned wrong, and once with one turned right.
For an accuracy with one image a patient and a whole imagined patient this would be Clopper and
Pearson's interval; with half of one it is close to the mid-P interval.

Letters: R resamples, P patients, B images, C classes, N rows (images, real and imagined).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from cerviclip.evaluation.bootstrap import SEED
from cerviclip.evaluation.intervals.proportions import few

METHOD = "Bayesian bootstrap of patients, with half an imagined one all wrong or all right"
RESAMPLES = 400
IMAGINED = 0.5  # patients
_CHUNK = 4_000_000  # weights held at once (32 MB)
_EDGE = 1e-9

#: ``statistic(labels (N,), scores (N,) or (N, C), weights (R, N)) -> (R,)``, NaN where undefined.
Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Estimate(NamedTuple):
    """A statistic with its limits; ``undefined`` resamples were left out of the limits."""

    value: float
    low: float
    high: float
    undefined: int


def interval_of(
    statistic: Statistic,
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    imagined: float = IMAGINED,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate:
    """Value and interval of a statistic of patients' images; the entry for every new measure.

    Where a metric has a function of its own in this package (proportions, AUC, class means, ECE,
    losses) take that one: it covers better and is narrower.

    Args:
        statistic: a function of labels, scores and weights, see ``Statistic``; rows of weights are
            resamples. A function of one row of weights, as scikit-learn's with ``sample_weight``,
            is made one by ``one_by_one``. Weights may have any scale.
        labels: (B,) true classes from 0; of (B,) scores, 0 or 1.
        scores: (B, C) class probabilities, or (B,) scores, higher for label 1.
        patients: (B,) patient numbers from 0.
        bounds: least and greatest value that the statistic can take; may be infinite. The interval
            never leaves them.
        imagined: patients that each resample has beside the real ones; more widen the interval.
        level: nominal coverage.
        resamples: how many.
        seed: of the resamples.

    Returns:
        The estimate. The limits hold the value and are never equal; all NaN where the statistic is
        undefined, limits NaN with fewer than two patients and where no resample has another value.
    """
    labels, scores = np.asarray(labels).astype(np.int64), np.asarray(scores, dtype=np.float64)
    patients = np.unique(patients, return_inverse=True)[1]
    value = float(statistic(labels, scores, np.ones((1, len(labels))))[0])
    count = patients.max() + 1
    if np.isnan(value) or count < 2:
        return Estimate(value, np.nan, np.nan, 0)
    rng = np.random.default_rng(seed)
    rows = np.concatenate([labels, labels])
    both = [np.concatenate([scores, copies]) for copies in turned(labels, scores, rng)]
    drawn: list[list[np.ndarray]] = [[], []]
    step = max(1, _CHUNK // len(rows))
    for start in range(0, resamples, step):
        size = min(step, resamples - start), count
        real, added = rng.standard_exponential(size), rng.standard_gamma(imagined / count, size)
        weights = np.concatenate([real[:, patients], added[:, patients]], axis=1)
        for parts, with_copies in zip(drawn, both, strict=True):
            parts.append(statistic(rows, with_copies, weights))
    stretch = _stretch(count, level)
    ends, undefined = [value], 0
    for values in map(np.concatenate, drawn):
        defined = values[~np.isnan(values)]
        undefined = max(undefined, len(values) - len(defined))
        ends += _percentiles(defined, bounds, stretch, level)
    low, high = min(ends), max(ends)
    if high - low < _EDGE * max(abs(value), 1.0):
        low = high = np.nan
    return Estimate(value, low, high, undefined)


def one_by_one(function: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> Statistic:
    """A statistic from a function of labels, scores and one row of weights (N,)."""

    def statistic(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.array([function(labels, scores, row) for row in weights], dtype=np.float64)

    return statistic


def turned(
    labels: np.ndarray, scores: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of imagined images with these labels: all wrong, and all right.

    Of (B, C) probabilities, the true class's and the greatest other one change places. Of (B,)
    scores, a wrong one is that of an image of the other class, and a right one the extreme.
    """
    if scores.ndim == 2:
        rows = np.arange(len(labels))
        others = scores.copy()
        others[rows, labels] = -np.inf
        rival = others.argmax(axis=1)
        both = scores[rows, labels], scores[rows, rival]
        out = []
        for true, other in ((np.minimum, np.maximum), (np.maximum, np.minimum)):
            part = scores.copy()
            part[rows, labels], part[rows, rival] = true(*both), other(*both)
            out.append(part)
        return out[0], out[1]
    wrong = scores.copy()
    for label in (0, 1):
        other = scores[labels != label]
        if len(other):
            mine = labels == label
            wrong[mine] = rng.choice(other, mine.sum())
    return wrong, np.where(labels > 0, scores.max(), scores.min())


def _stretch(patients: int, level: float) -> float:
    """By how much wider than the weights say, for few patients: Student's quantile for the normal
    one, and the variance of n exponential weights, which is that of n + 1 draws, for n - 1."""
    return float(np.sqrt(few(patients, level) * (patients + 1) / (patients - 1)))


def _percentiles(
    values: np.ndarray, bounds: tuple[float, float], stretch: float, level: float
) -> list[float]:
    """Limits of defined values, stretched about their median on a scale without ends."""
    if len(values) == 0:
        return []
    tail = (1 - level) / 2
    low, middle, high = _straight(np.quantile(values, (tail, 0.5, 1 - tail)), bounds)
    ends = middle - stretch * (middle - low), middle + stretch * (high - middle)
    return [float(_curved(np.float64(end), bounds)) for end in ends]


def _straight(values: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Values on a scale without ends: logit between two bounds, logarithm above one."""
    bottom, top = bounds
    if np.isinf(bottom):
        return values if np.isinf(top) else -np.log(np.maximum(top - values, _EDGE))
    if np.isinf(top):
        return np.log(np.maximum(values - bottom, _EDGE))
    return logit(np.clip((values - bottom) / (top - bottom), _EDGE, 1 - _EDGE))


def _curved(values: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """The inverse of ``_straight``."""
    bottom, top = bounds
    if np.isinf(bottom):
        return values if np.isinf(top) else top - np.exp(-values)
    return bottom + np.exp(values) if np.isinf(top) else bottom + (top - bottom) * expit(values)
