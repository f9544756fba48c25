"""Net benefit of acting on a model, on everybody and on nobody (Vickers and Elkin 2006).

Whoever acts at a probability of t says that a missed positive is worth (1 - t) / t false alarms.
Net benefit counts true alarms less false alarms so weighed, per image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cerviclip.evaluation.measures.sample import Sample

THRESHOLDS = np.arange(1, 100) / 100
_DIGITS = 6


def net_benefit(
    score: np.ndarray, is_positive: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> np.ndarray:
    """(T,) net benefit of calling positive what has at least each threshold's probability."""
    n = len(score)
    positive, negative = np.sort(score[is_positive]), np.sort(score[~is_positive])
    true_alarms = len(positive) - np.searchsorted(positive, thresholds, side="left")
    false_alarms = len(negative) - np.searchsorted(negative, thresholds, side="left")
    return (true_alarms - false_alarms * thresholds / (1 - thresholds)) / n


def decision_curve(sample: Sample, score: np.ndarray) -> dict[str, Any]:
    """Curves of results.json: ``threshold model all`` (none is 0 throughout); or a ``reason``.

    Args:
        sample: one centre.
        score: (B,) probabilities of the positive group, recalibrated or not.
    """
    if sample.no_binary:
        return {"threshold": [], "model": [], "all": [], "none": 0.0, "reason": sample.no_binary}
    everybody = np.ones(len(sample))
    return {
        "threshold": THRESHOLDS.tolist(),
        "model": net_benefit(score, sample.is_positive).round(_DIGITS).tolist(),
        "all": net_benefit(everybody, sample.is_positive).round(_DIGITS).tolist(),
        "none": 0.0,
    }
