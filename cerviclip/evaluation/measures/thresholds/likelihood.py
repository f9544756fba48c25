"""Likelihood ratios with intervals, and predictive values at a stated prevalence.

A test set seldom has the share of positives of the clinic. By Bayes' rule the PPV at a prevalence
follows from the likelihood ratio alone, and it rises with it; so its limits follow too.
"""

from __future__ import annotations

import numpy as np


def ratio_interval(
    top: float, top_limits: np.ndarray, bottom: float, bottom_limits: np.ndarray
) -> tuple[float, float, float]:
    """Ratio of two independent proportions with limits (MOVER-R, Donner and Zou 2012).

    Args:
        top: numerator in 0-1.
        top_limits: its lower and upper limits.
        bottom: denominator in 0-1.
        bottom_limits: its lower and upper limits.

    Returns:
        Ratio, lower and upper limit. The ratio is infinite where the denominator alone is 0, and
        the upper limit where the denominator's lower limit is 0. NaN where undefined.
    """
    if np.isnan(top) or np.isnan(bottom) or (top == 0 and bottom == 0):
        return np.nan, np.nan, np.nan
    value = top / bottom if bottom > 0 else np.inf
    (l1, u1), (l2, u2) = top_limits, bottom_limits
    if np.isnan([l1, u1, l2, u2]).any():
        return float(value), np.nan, np.nan
    product = top * bottom
    # The textbook form of the lower limit is 0 / 0 where 2 * bottom = u2; this is the same number.
    root = np.sqrt(max(product**2 - l1 * u2 * (2 * top - l1) * (2 * bottom - u2), 0.0))
    low = l1 * (2 * top - l1) / (product + root) if l1 > 0 else 0.0
    root = np.sqrt(max(product**2 - u1 * l2 * (2 * top - u1) * (2 * bottom - l2), 0.0))
    high = (product + root) / (l2 * (2 * bottom - l2)) if l2 > 0 else np.inf
    return float(value), float(low), float(high)


def positive_value(ratio: np.ndarray, prevalence: float) -> np.ndarray:
    """PPV in 0-1 at a prevalence, from positive likelihood ratios (infinite gives 1)."""
    return _probability(np.asarray(ratio, dtype=float), prevalence)


def negative_value(ratio: np.ndarray, prevalence: float) -> np.ndarray:
    """NPV in 0-1 at a prevalence, from negative likelihood ratios."""
    return 1 - _probability(np.asarray(ratio, dtype=float), prevalence)


def _probability(ratio: np.ndarray, prevalence: float) -> np.ndarray:
    """Probability of disease behind a test with this likelihood ratio (Bayes)."""
    odds = ratio * prevalence / (1 - prevalence)
    finite = np.isfinite(odds)
    shares = np.divide(odds, 1 + odds, out=np.ones_like(odds), where=finite)
    return np.where(np.isnan(odds), np.nan, shares)
