"""Areas under a score's curves from its steps, as scikit-learn defines them.

Letters: B images, T different scores.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.integrate import trapezoid  # NumPy's own is of version 2


class Steps(NamedTuple):
    """True and false alarms (T,) when all images with at least each score are called positive,
    from the highest score down."""

    hits: np.ndarray
    alarms: np.ndarray

    @classmethod
    def of(cls, score: np.ndarray, positive: np.ndarray) -> Steps:
        """Of (B,) scores and (B,) true where an image is positive; both kinds must be there."""
        order = np.argsort(score, kind="stable")[::-1]
        score = score[order]
        last = np.flatnonzero(np.append(score[1:] != score[:-1], True))
        hits = np.cumsum(positive[order].astype(np.float64))[last]
        return cls(hits, last + 1.0 - hits)


def average_precision(steps: Steps) -> float:
    """Mean of the precision at each step, weighted by the recall that the step adds; 0 to 1."""
    precision = steps.hits / (steps.hits + steps.alarms)
    recall = steps.hits / steps.hits[-1]
    # Summed from full recall down, so that the last digit is scikit-learn's.
    added = np.diff(np.append(recall[::-1], 0.0))
    return max(0.0, -float((added * precision[::-1]).sum()))


def roc_area(steps: Steps) -> float:
    """Area under the ROC curve; equal scores count one half."""
    return float(trapezoid(*_roc(steps)))


def partial_roc_area(steps: Steps, max_fpr: float) -> float:
    """The area up to a false-positive rate, so scaled that chance has 0.5 (McClish 1989)."""
    sensitivity, alarm_rate = _roc(steps)
    stop = int(np.searchsorted(alarm_rate, max_fpr, side="right"))
    here = slice(stop - 1, stop + 1)
    end = np.interp(max_fpr, alarm_rate[here], sensitivity[here])
    area = trapezoid(np.append(sensitivity[:stop], end), np.append(alarm_rate[:stop], max_fpr))
    least, most = 0.5 * max_fpr**2, max_fpr
    return float(0.5 * (1 + (area - least) / (most - least)))


def _roc(steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and false-positive rate at the corners of the curve, from (0, 0) to (1, 1)."""
    hits, alarms = steps
    if len(hits) > 2:
        bends = (np.diff(hits, 2) != 0) | (np.diff(alarms, 2) != 0)
        corners = np.concatenate([[True], bends, [True]])
        hits, alarms = hits[corners], alarms[corners]
    hits, alarms = np.append(0.0, hits), np.append(0.0, alarms)
    return hits / hits[-1], alarms / alarms[-1]
