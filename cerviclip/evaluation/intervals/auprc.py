"""Interval of the area under the precision-recall curve (average precision).

It is a mean over positives, so its interval is that of a proportion (Boyd, Eng and Page 2013). The
trials are patients who have positives, fewer of them if some have far more images than others
(Kish 1965). Where patients show that they say more than that, or less, the number of trials follows
the variance that they show; it is trusted as far as there are patients with images out of place.

Letters: B images, T different scores, P patients.
"""

from __future__ import annotations

import numpy as np

from cerviclip.evaluation.intervals.binomial import mid_p_or_wilson

# Patients with images out of place at which the observed variance counts one half: where it is
# above the binomial one, and below it
_WIDER, _NARROWER = 5.0, 20.0
_MOST = 6.0  # times more, or less, than the patients


def auprc_limits(
    scores: np.ndarray, positive: np.ndarray, patients: np.ndarray, level: float = 0.95
) -> tuple[float, float, float]:
    """Value, lower and upper limit, 0 to 1; both kinds of images must be there.

    Args:
        scores: (B,) higher for positives.
        positive: (B,) true where an image is positive.
        patients: (B,) patient numbers from 0.
        level: nominal coverage.
    """
    value, influence = precision_influence(scores, positive, patients)
    images = np.bincount(patients[positive])
    trials = images.sum() ** 2 / (images**2).sum()
    present = len(np.unique(patients))
    variance = (influence**2).sum() * present / max(present - 1, 1)
    telling = _misplaced(scores, positive, patients)
    if telling > 0 and variance > 0:
        ratio = np.clip(value * (1 - value) / (trials * variance), 1 / _MOST, _MOST)
        half = _NARROWER if ratio > 1 else _WIDER
        trials *= ratio ** (telling / (telling + half))
    limits = mid_p_or_wilson(np.array([value]), np.array([max(trials, 1.0)]), level)
    return value, float(limits.low[0]), float(limits.high[0])


def precision_influence(
    scores: np.ndarray, positive: np.ndarray, patients: np.ndarray
) -> tuple[float, np.ndarray]:
    """Average precision, and (P,) by how much each patient moves it.

    An image moves it by its own precision if it is positive, and by what it does to the precision
    at each positive below it or beside it.
    """
    order = np.argsort(-scores, kind="stable")
    rank, here = scores[order], positive[order].astype(np.float64)
    last = np.flatnonzero(np.append(rank[1:] != rank[:-1], True))
    hits, called = np.cumsum(here)[last], last + 1.0
    precision, total = hits / called, here.sum()
    steps = np.diff(hits, prepend=0.0)
    value = float(steps @ precision / total)
    # What one more image, and one more positive image, does to the precision from each step down.
    diluted = np.cumsum((steps * precision / called)[::-1])[::-1]
    raised = np.cumsum((steps / called)[::-1])[::-1]
    step = np.searchsorted(last, np.arange(len(rank)))
    moved = (here * (precision[step] - value + raised[step]) - diluted[step]) / total
    return value, np.bincount(patients[order], moved, int(patients.max()) + 1)


def _misplaced(scores: np.ndarray, positive: np.ndarray, patients: np.ndarray) -> int:
    """Patients with a positive image that a negative one is above, or with such a negative image;
    of which there are fewer."""
    parts = (
        positive & (scores <= scores[~positive].max()),
        ~positive & (scores >= scores[positive].min()),
    )
    return min(len(np.unique(patients[part])) for part in parts)
