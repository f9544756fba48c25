"""The difference of two methods on one centre, over patients and over training runs.

Both are random, as readers and cases are in a reader study (Obuchowski and Rockette 1995). An
interval reaches as far as the patients' resamples and the spread of the runs say together:
``reach^2 = patients^2 + t^2 s^2 / S``, with s^2 the variance of the S runs' differences less the
part that patients alone cause, and Student's t with S - 1 degrees of freedom. With one run a method
there is no second part, and the interval says nothing of other seeds.

Letters: B images, P patients, S runs of the first method, T of the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from cerviclip.evaluation.bootstrap import MIN_PATIENTS
from cerviclip.evaluation.comparing.quantities import Quantity
from cerviclip.evaluation.comparing.significance import (
    DELONG,
    INVERTED,
    MCNEMAR,
    MCNEMAR_RUNS,
    delong,
    mcnemar,
    mcnemar_error,
    p_of_reach,
)
from cerviclip.evaluation.intervals.paired import paired_resamples

LEVEL = 0.95
IDENTICAL = "identical predictions"


class RunSpread(NamedTuple):
    """Variance of a mean difference that other training runs would cause, and its freedom."""

    variance: float = 0.0
    df: float = np.inf


@dataclass(frozen=True)
class Difference:
    """First method less second, in the quantity's unit (percent where its scale is 100).

    ``below`` and ``above`` are how far the patients' part of the interval reaches to both sides.
    ``ours`` and ``other`` have the value of each run; ``noise`` is the covariance that patients
    cause between them, ours first. ``error`` is the standard error of the named test, None where it
    has none; ``exact`` its exact p. ``fixed``: the runs are the only ones of interest.
    """

    value: float
    below: float
    above: float
    ours: np.ndarray
    other: np.ndarray
    noise: np.ndarray
    paired: bool
    test: str = INVERTED
    error: float | None = None
    exact: float | None = None
    identical: bool = False
    fixed: bool = False
    undefined: int = 0

    @property
    def runs(self) -> RunSpread:
        """What the spread of the runs adds."""
        if self.fixed:
            return RunSpread()
        n = len(self.ours)
        noise_a, noise_b = self.noise[:n, :n], self.noise[n:, n:]
        if self.paired and n > 1:
            across = self.noise[:n, n:]
            both = noise_a + noise_b - across - across.T
            return _spread(self.ours - self.other, both)
        return _sum(_spread(self.ours, noise_a), _spread(self.other, noise_b))

    @property
    def runs_add_nothing(self) -> bool:
        """Whether there are several runs, and they differ no more than patients alone explain."""
        several = max(len(self.ours), len(self.other)) > 1
        return several and not self.fixed and not self.identical and self.runs.variance == 0

    def limits(self, widest: float = np.inf) -> tuple[float, float]:
        """The interval; equal limits only where all predictions are identical."""
        if self.identical:
            return 0.0, 0.0
        variance, df = self.runs
        reach = t.ppf(0.5 + LEVEL / 2, df) * np.sqrt(variance) if variance > 0 else 0.0
        low = self.value - np.hypot(self.below, reach)
        high = self.value + np.hypot(self.above, reach)
        return max(low, -widest), min(high, widest)

    def p(self) -> float:
        """Two-sided p of the test; NaN where there is no interval."""
        if self.identical:
            return 1.0
        if self.exact is not None:
            return self.exact
        side = self.below if self.value > 0 else self.above
        error = side / norm.ppf(0.5 + LEVEL / 2) if self.error is None else self.error
        return p_of_reach(self.value, error, *self.runs)


def difference_of(
    quantity: Quantity,
    labels: np.ndarray,
    ours: Sequence[np.ndarray],
    other: Sequence[np.ndarray],
    patients: np.ndarray,
    *,
    paired: bool,
    seed: int,
) -> Difference:
    """The difference of two methods' runs on the same images.

    Args:
        quantity: what is compared.
        labels: (B,) as its statistic takes them.
        ours: S arrays of scores, as its statistic takes them.
        other: T arrays.
        patients: (B,) patient numbers from 0.
        paired: the runs are pairs of one seed each, in the same order.
        seed: of the resamples.
    """
    # The more images a patient has, the less likely it is that the methods differ on all of them.
    images = len(labels) / len(np.unique(patients))
    imagined = quantity.imagined / np.cbrt(images)
    found = paired_resamples(
        quantity.statistic, labels, ours, other, patients, imagined=imagined, seed=seed
    )
    low, high = found.limits(quantity.widest)
    if found.patients < MIN_PATIENTS:
        low = high = np.nan
    scale = quantity.scale
    difference = Difference(
        scale * found.value,
        scale * (found.value - low),
        scale * (high - found.value),
        scale * found.ours,
        scale * found.other,
        scale**2 * found.noise(),
        paired,
        undefined=found.undefined,
    )
    if not np.isfinite(difference.value) or found.patients < MIN_PATIENTS:
        return difference
    if quantity.delong:
        return _with_delong(difference, labels, ours, other, patients)
    if quantity.trials is not None:
        return _with_mcnemar(difference, quantity, labels, ours, other, patients)
    return difference


def mean_of(parts: Sequence[Difference]) -> Difference:
    """The mean over centres: their patients are different people, their runs the same models."""
    n = len(parts)

    def root(values: Sequence[float]) -> float:
        return float(np.sqrt(np.square(values).sum()) / n)

    first = parts[0]
    return replace(
        first,
        value=float(np.mean([d.value for d in parts])),
        below=root([d.below for d in parts]),
        above=root([d.above for d in parts]),
        ours=np.mean([d.ours for d in parts], axis=0),
        other=np.mean([d.other for d in parts], axis=0),
        noise=np.sum([d.noise for d in parts], axis=0) / n**2,
        test=INVERTED,
        error=None,
        exact=None,
        identical=all(d.identical for d in parts),
        undefined=max(d.undefined for d in parts),
    )


def _spread(values: np.ndarray, noise: np.ndarray) -> RunSpread:
    """Variance of the mean of (S,) values, less what patients add to single runs."""
    n = len(values)
    if n < 2:
        return RunSpread()
    own = np.trace(noise) / n
    shared = (noise.sum() - np.trace(noise)) / (n * (n - 1))
    return RunSpread(max(float(values.var(ddof=1) - (own - shared)), 0.0) / n, n - 1)


def _sum(one: RunSpread, two: RunSpread) -> RunSpread:
    """Of independent parts, with Welch and Satterthwaite's degrees of freedom."""
    variance = one.variance + two.variance
    if variance == 0:
        return RunSpread()
    df = variance**2 / (one.variance**2 / one.df + two.variance**2 / two.df)
    return RunSpread(variance, df)


def _with_delong(
    difference: Difference,
    labels: np.ndarray,
    ours: Sequence[np.ndarray],
    other: Sequence[np.ndarray],
    patients: np.ndarray,
) -> Difference:
    contrast = [1 / len(ours)] * len(ours) + [-1 / len(other)] * len(other)
    found = delong(np.stack([*ours, *other]), labels > 0, patients, contrast)
    if found.error == 0:  # no patient tells the methods apart
        return difference
    return replace(difference, test=DELONG, error=found.error)


def _with_mcnemar(
    difference: Difference,
    quantity: Quantity,
    labels: np.ndarray,
    ours: Sequence[np.ndarray],
    other: Sequence[np.ndarray],
    patients: np.ndarray,
) -> Difference:
    assert quantity.trials is not None
    of = quantity.trials(labels)
    right = [np.stack([s.argmax(axis=1) == labels for s in runs])[:, of] for runs in (ours, other)]
    gains = right[0].mean(axis=0) - right[1].mean(axis=0)
    if len(ours) == len(other) == 1:
        return replace(difference, test=MCNEMAR, exact=mcnemar(gains, patients[of]).exact)
    error = mcnemar_error(gains, patients[of])
    if error == 0:
        return difference
    return replace(difference, test=MCNEMAR_RUNS, error=quantity.scale * error)
