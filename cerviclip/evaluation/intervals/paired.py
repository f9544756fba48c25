"""Resamples of two methods on the same patients, for the interval of a difference.

As in ``generic``, a resample gives each patient a random weight, and one set of resamples holds an
imagined patient on whom the first method is wrong and the second right, another set the reverse.
So two methods that differ on no patient seen still have an interval of some width. Each weight
serves both methods and all their runs.

Letters: R resamples, P patients, B images, S runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cerviclip.evaluation.bootstrap import SEED
from cerviclip.evaluation.intervals.generic import (
    _CHUNK,
    RESAMPLES,
    Statistic,
    _percentiles,
    _stretch,
    turned,
)

METHOD = "Bayesian bootstrap of patients, the same for both, with part of an imagined one"
# Imagined patients, chosen by coverage (tests/cerviclip/evaluation/comparing/test_coverage.py): of
# quantities that rest on verdicts, which often show no difference, and of those that rest on scores
OF_VERDICTS, OF_SCORES = 0.25, 0.1
_INFINITE = (-np.inf, np.inf)


class PairedResamples(NamedTuple):
    """A statistic of each run: ``ours`` (S,), ``other`` (T,), and of its resamples.

    ``against`` and ``for_us`` are the two sets of resamples, (S + T, R) each, ours first.
    """

    ours: np.ndarray
    other: np.ndarray
    against: np.ndarray
    for_us: np.ndarray
    patients: int

    @property
    def value(self) -> float:
        return float(self.ours.mean() - self.other.mean())

    @property
    def undefined(self) -> int:
        """Resamples without a value, of the set that has more."""
        sets = (self.against, self.for_us)
        return max(int(np.isnan(part).any(axis=0).sum()) for part in sets)

    def limits(self, widest: float, level: float = 0.95) -> tuple[float, float]:
        """Of the difference of means over runs, as far as patients go; NaN if there are none.

        Args:
            widest: greatest difference there can be; may be infinite.
            level: nominal coverage.
        """
        if self.patients < 2 or np.isnan(self.value):
            return np.nan, np.nan
        bounds = (-widest, widest) if np.isfinite(widest) else _INFINITE
        ends = [self.value]
        for part in (self.against, self.for_us):
            means = part[: len(self.ours)].mean(axis=0) - part[len(self.ours) :].mean(axis=0)
            defined = means[~np.isnan(means)]
            ends += _percentiles(defined, bounds, _stretch(self.patients, level), level)
        return (np.nan, np.nan) if len(ends) == 1 else (min(ends), max(ends))

    def noise(self) -> np.ndarray:
        """(S + T, S + T) covariance of the runs' statistics that patients cause."""
        parts = [part[:, ~np.isnan(part).any(axis=0)] for part in (self.against, self.for_us)]
        size = len(self.ours) + len(self.other)
        found = [np.cov(part).reshape(size, size) for part in parts if part.shape[1] > 1]
        return np.mean(found, axis=0) if found else np.zeros((size, size))


def paired_resamples(
    statistic: Statistic,
    labels: np.ndarray,
    ours: Sequence[np.ndarray],
    other: Sequence[np.ndarray],
    patients: np.ndarray,
    *,
    imagined: float = OF_VERDICTS,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> PairedResamples:
    """A statistic of the runs of two methods on the same images, resampled by patient.

    Args:
        statistic: as ``generic.interval_of`` takes it.
        labels: (B,) true classes from 0.
        ours: (B,) or (B, C) scores of each of the first method's runs.
        other: those of the second method's.
        patients: (B,) patient numbers from 0.
        imagined: patients that each resample has beside the real ones.
        resamples: of each set.
        seed: of the resamples.
    """
    patients = np.unique(patients, return_inverse=True)[1]
    count, runs = int(patients.max()) + 1, [*ours, *other]
    whole = np.ones((1, len(labels)))
    values = np.array([statistic(labels, scores, whole)[0] for scores in runs])
    rng = np.random.default_rng(seed)
    rows = np.concatenate([labels, labels])
    copies = [turned(labels, scores, rng) for scores in runs]  # (wrong, right) of each
    drawn: list[list[np.ndarray]] = [[], []]
    step = max(1, _CHUNK // len(rows))
    for start in range(0, resamples, step):
        size = min(step, resamples - start), count
        real, added = rng.standard_exponential(size), rng.standard_gamma(imagined / count, size)
        weights = np.concatenate([real[:, patients], added[:, patients]], axis=1)
        for side, parts in enumerate(drawn):
            found = []
            for i, scores in enumerate(runs):
                right = side == (i < len(ours))  # side 0: ours wrong, the other's right
                with_copies = np.concatenate([scores, copies[i][int(right)]])
                found.append(statistic(rows, with_copies, weights))
            parts.append(np.stack(found))
    against, for_us = (np.concatenate(parts, axis=1) for parts in drawn)
    return PairedResamples(values[: len(ours)], values[len(ours) :], against, for_us, count)
