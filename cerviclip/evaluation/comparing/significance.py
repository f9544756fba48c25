"""Tests of paired differences: McNemar's and DeLong's, by patient, and Holm's correction.

Letters: R rows of scores, B images, P patients, M comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm, t

from cerviclip.evaluation.intervals.auc import Placements, obuchowski_variance, placements

MCNEMAR = "McNemar, exact by patient"
MCNEMAR_RUNS = "McNemar, clustered by patient (Yang)"
DELONG = "DeLong, clustered by patient (Obuchowski)"
INVERTED = "inverted interval"
_LEAST_P = 1e-12


class McNemar(NamedTuple):
    """The statistic, chi-square with one degree of freedom, its p, and the exact p."""

    statistic: float
    p: float
    exact: float


def mcnemar(gains: np.ndarray, patients: np.ndarray) -> McNemar:
    """McNemar's test of discordant images, clustered by patient.

    The statistic is that of Yang, Sun and Hardin (2010): the squared sum of the patients' net gains
    over the sum of their squares. The exact test turns the sign of each patient's net gain in every
    possible way: if the methods are alike, each patient could as well have had them exchanged. With
    one image a patient these are McNemar's statistic and the exact binomial test.

    Args:
        gains: (B,) 1 where the first method alone is right, -1 where the second alone is, else 0.
        patients: (B,) patient numbers from 0.
    """
    net = np.rint(np.bincount(patients, gains)).astype(np.int64)
    net = np.abs(total := net)[net != 0]
    if not len(net):
        return McNemar(0.0, 1.0, 1.0)
    reached = abs(int(total.sum()))
    statistic = reached**2 / float((net**2).sum())
    return McNemar(statistic, float(chi2.sf(statistic, 1)), _sign_flips(net, reached))


def _sign_flips(net: np.ndarray, reached: int) -> float:
    """Share of all ways to sign (P,) whole numbers whose sum is at least ``reached`` from 0."""
    size = int(net.sum())
    share = np.zeros(2 * size + 1)  # of each sum from -size to size
    share[size] = 1.0
    for value in net:
        moved = np.zeros_like(share)
        moved[value:] += share[: len(share) - value] / 2
        moved[: len(share) - value] += share[value:] / 2
        share = moved
    sums = np.abs(np.arange(-size, size + 1))
    return float(min(share[sums >= reached].sum(), 1.0))


def mcnemar_error(gains: np.ndarray, patients: np.ndarray) -> float:
    """Standard error of the mean of ``gains`` that goes with the clustered statistic."""
    return float(np.sqrt((np.bincount(patients, gains) ** 2).sum()) / len(gains))


class DeLong(NamedTuple):
    """A difference of areas under the ROC curve, its standard error and two-sided p."""

    value: float
    error: float
    p: float


def delong(
    scores: np.ndarray, positive: np.ndarray, patients: np.ndarray, contrast: Sequence[float]
) -> DeLong:
    """DeLong's test (1988) of a contrast of AUCs, by patient as Obuchowski (1997) has it.

    Args:
        scores: (R, B) of the same images, higher for positives.
        positive: (B,) true where positive; both kinds must be there.
        patients: (B,) patient numbers from 0; all different gives DeLong's own test.
        contrast: (R,) weights such as 1, -1.
    """
    placed = placements(np.asarray(scores, dtype=np.float64), positive, patients)
    weights = np.asarray(contrast, dtype=np.float64)
    rows = (placed.auc, placed.positive, placed.negative)
    parts = (placed.positive_parts, placed.negative_parts)
    one = Placements(*(weights[None] @ row for row in (*rows, *parts)))
    value = float(one.auc[0])
    error = float(np.sqrt(obuchowski_variance(one, positive, patients)[0]))
    p = float(2 * norm.sf(abs(value) / error)) if error > 0 else float(abs(value) < _LEAST_P)
    return DeLong(value, error, p)


def p_of_reach(value: float, error: float, run_variance: float = 0.0, df: float = np.inf) -> float:
    """Two-sided p of a difference: one less the level at which its interval just reaches 0.

    The squared reach of an interval is ``(z error)^2 + t^2 run_variance``, Student's t having
    ``df`` degrees of freedom. Without runs this is the p of a normal statistic (Altman and Bland
    2011 take it from an interval).
    """
    if np.isnan(value) or np.isnan(error):
        return np.nan
    if value == 0 or (error <= 0 and run_variance <= 0):
        return float(value == 0)
    if run_variance <= 0:
        return max(float(2 * norm.sf(abs(value) / error)), _LEAST_P)

    def reach_less_value(log_p: float) -> float:
        tail = np.exp(log_p) / 2
        reach = (norm.isf(tail) * error) ** 2 + t.isf(tail, df) ** 2 * run_variance
        return float(np.sqrt(reach) - abs(value))

    ends = np.log(_LEAST_P), np.log(1 - 1e-12)
    if reach_less_value(ends[0]) <= 0:
        return _LEAST_P
    if reach_less_value(ends[1]) >= 0:
        return 1.0
    return float(np.exp(brentq(reach_less_value, *ends)))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """(M,) p values corrected by Holm's step-down method (1979); NaN stays and does not count."""
    p = np.asarray(p_values, dtype=np.float64)
    out = np.full(len(p), np.nan)
    there = np.flatnonzero(~np.isnan(p))
    order = there[np.argsort(p[there], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(p[order] * steps), 1.0)
    return out
