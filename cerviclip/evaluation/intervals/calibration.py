"""Interval of the expected calibration error (ECE).

The ECE sums absolute gaps, so chance alone makes it positive: a resample of the images has a
higher ECE than the images, and these a higher one than the truth. A percentile of resamples is
therefore too high. Here the resamples say only how gaps vary. The interval holds every ECE under
which the observed one is likely, where the true gaps are the observed ones times a factor.

Letters: R resamples, P patients, K bins, F factors.
"""

from __future__ import annotations

import numpy as np

from cerviclip.evaluation.intervals.binomial import NO_WIDTH, Interval
from cerviclip.evaluation.intervals.proportions import few

METHOD = "test inversion over resampled patients"
_FACTORS = np.linspace(0.0, 3.0, 61)
_AT_ONCE = 6  # factors


def ece_interval(
    gaps: np.ndarray,
    images: np.ndarray,
    draws: np.ndarray,
    accuracy: tuple[float, float],
    level: float = 0.95,
) -> Interval:
    """Of the sum over bins of absolute mean gaps.

    Resamples cannot show errors that no patient has: with six patients all right, an
    overconfident model looks well calibrated. So the upper limit is never below the distance of
    the mean confidence from either limit of the accuracy, which an ECE cannot undercut.

    Args:
        gaps: (P, K) sums over each patient's images of right (0 or 1) less confidence.
        images: (P,) images of each patient.
        draws: (R, P) how often each resample has each patient.
        accuracy: how far below and above the share of right images its interval reaches.
        level: nominal coverage.
    """
    total, patients = images.sum(), len(images)
    mean = gaps.sum(axis=0) / total  # (K,)
    observed = np.abs(mean).sum()
    centred = gaps - mean * images[:, None]
    inflation = np.sqrt(few(patients, level) * patients / (patients - 1))
    noise = draws @ centred / total * inflation  # (R, K)
    tail = (1 - level) / 2
    at_most = _shares_at_most(mean, noise, tail)
    low = min(observed, _crossing(at_most, 1 - tail) * observed)
    high = max(observed, _crossing(at_most, tail) * observed)
    if min(accuracy) <= 0:  # all right, or all wrong: patients show no errors to resample
        low = max(0.0, observed - max(accuracy))
    gap = mean.sum()  # share right less mean confidence
    farthest = max(accuracy[0] - gap, gap + accuracy[1])
    high = min(max(high, farthest), 1.0)
    if high - low < NO_WIDTH:  # every image is surely wrong: no patient shows another gap
        low = observed * (1 - 1 / (2 * patients))  # as if half a patient had none
    return Interval(np.float64(low), np.float64(high))


def _shares_at_most(mean: np.ndarray, noise: np.ndarray, least: float) -> np.ndarray:
    """Share of resamples whose ECE is at most the observed one, for each factor in turn.

    The share falls as the factor grows. Factors beyond the one at which it is ``least`` are left
    out, and so are bins without images.

    Args:
        mean: (K,) observed gaps.
        noise: (R, K) how the gaps of the resamples vary.
        least: share at which to stop.
    """
    used = (mean != 0) | (noise != 0).any(axis=0)
    mean, noise = mean[used], np.ascontiguousarray(noise[:, used].T)  # (K, R)
    # Bin by bin, as for the resamples: one that equals the images is as high, not higher.
    observed = sum(np.abs(mean), start=np.float64(0.0))
    found: list[float] = []
    for factors in np.split(_FACTORS, range(_AT_ONCE, len(_FACTORS), _AT_ONCE)):
        gaps = np.abs(factors[:, None] * mean[:, None, None] + noise[:, None])  # (K, F, R)
        simulated = np.zeros(gaps.shape[1:])
        for part in gaps:
            simulated += part
        found += (simulated <= observed).mean(axis=1).tolist()
        if min(found) <= least:
            break
    return np.array(found)


def _crossing(falling: np.ndarray, goal: float) -> float:
    """The factor at which the share falls to ``goal``; 0 where it is below from the start."""
    below = np.flatnonzero(falling <= goal)
    if len(below) == 0:
        return float(_FACTORS[-1])
    i = below[0]
    if i == 0:
        return 0.0
    part = (falling[i - 1] - goal) / max(falling[i - 1] - falling[i], 1e-12)
    return float(_FACTORS[i - 1] + part * (_FACTORS[i] - _FACTORS[i - 1]))
