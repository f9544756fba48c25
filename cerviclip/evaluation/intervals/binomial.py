"""Intervals of a proportion from a (possibly fractional) number of independent trials.

Letters: M proportions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import betainc, betaincinv, betaln, ndtri

_STEPS = 40  # halvings: the limits are right to 1e-12
_NEWTON = 4

NO_WIDTH = 1e-9  # below it two limits are one


class Interval(NamedTuple):
    """Lower and upper limits, one of each for every estimate; NaN where there are none."""

    low: np.ndarray
    high: np.ndarray


def wilson(share: np.ndarray, trials: np.ndarray, level: float = 0.95) -> Interval:
    """Wilson's score interval; (M,) shares between 0 and 1 of (M,) trials."""
    z2 = ndtri(0.5 + level / 2) ** 2
    center = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    inner = z2 * share * (1 - share) / trials + (z2 / (2 * trials)) ** 2
    half = np.sqrt(inner) / (1 + z2 / trials)
    return Interval(np.maximum(center - half, 0.0), np.minimum(center + half, 1.0))


def mid_p(share: np.ndarray, trials: np.ndarray, level: float = 0.95) -> Interval:
    """The mid-P form of Clopper and Pearson's interval; (M,) shares of (M,) trials."""
    tail = (1 - level) / 2
    goals = np.reshape([tail, 1 - tail], (2,) + (1,) * np.ndim(share * trials))
    low, high = _mid_p_limit(share, trials, goals)  # both in one search
    return Interval(np.where(share <= 0, 0.0, low), np.where(share >= 1, 1.0, high))


def mid_p_or_wilson(share: np.ndarray, trials: np.ndarray, level: float = 0.95) -> Interval:
    """From the lower of both lower limits to the higher of both upper limits.

    Each alone falls below 0.92 at some true shares, Wilson's to 0.83; the two dip at different
    ones. Together they cover at least 0.931 of 0.95 at every share from 0.7 to 0.98 with 12 to 200
    trials (with fewer: 0.934 with 6 to 9, 0.926 with 10, 0.922 with 11), and are at most 4 % wider
    than the mid-P on average.
    """
    one, two = mid_p(share, trials, level), wilson(share, trials, level)
    return Interval(np.minimum(one.low, two.low), np.maximum(one.high, two.high))


def _mid_p_limit(share: np.ndarray, trials: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """(2, M) p at which P(more hits | p) + P(as many hits | p) / 2 is ``goal`` (2, 1).

    What halving the range from 0 to 1 leaves. Newton's method finds the place in a few steps; where
    it does not, the range is halved indeed.
    """
    hits, misses, goal = np.broadcast_arrays(share * trials, (1 - share) * trials, goal)
    of = (hits.ravel(), misses.ravel(), goal.ravel())
    found, sure = _by_newton(*of)
    sure |= (of[0] <= 0) & (of[2] < 0.5) | (of[1] <= 0) & (of[2] > 0.5)  # these ends are 0 and 1
    if not sure.all():
        found[~sure] = _by_halving(*(part[~sure] for part in of))
    return found.reshape(goal.shape)


def _mid_p_value(hits: np.ndarray, misses: np.ndarray, p: np.ndarray) -> np.ndarray:
    at_least = np.where(hits > 0, betainc(np.maximum(hits, 1e-12), misses + 1, p), 1.0)
    more = np.where(misses > 0, betainc(hits + 1, np.maximum(misses, 1e-12), p), 0.0)
    return (at_least + more) / 2


def _by_halving(hits: np.ndarray, misses: np.ndarray, goal: np.ndarray) -> np.ndarray:
    low, high = np.zeros_like(goal), np.ones_like(goal)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        below = _mid_p_value(hits, misses, middle) < goal
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _by_newton(
    hits: np.ndarray, misses: np.ndarray, goal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the part that halving would end at, and whether it is surely that part."""
    p = betaincinv(hits + 0.5, misses + 0.5, goal)
    norm_one, norm_two = (betaln(np.maximum(hits, 1e-12), misses + 1),
                          betaln(hits + 1, np.maximum(misses, 1e-12)))  # fmt: skip
    for _ in range(_NEWTON):
        log_p, log_q = np.log(p), np.log1p(-p)
        slope = np.exp((hits - 1) * log_p + misses * log_q - norm_one)
        slope += np.exp(hits * log_p + (misses - 1) * log_q - norm_two)
        step = (_mid_p_value(hits, misses, p) - goal) / np.maximum(slope / 2, 1e-12)
        p = np.clip(p - step, 1e-12, 1 - 1e-12)
    size = 0.5**_STEPS
    low = np.floor(p / size) * size
    high = low + size
    sure = (low <= 0) | (_mid_p_value(hits, misses, low) < goal)
    sure &= (high >= 1) | (_mid_p_value(hits, misses, high) >= goal)
    return (low + high) / 2, sure
