"""Operating points of a run, applied to one answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A threshold, chosen on the val patients before any test image was read.

    Attributes:
        name: ``sensitivity_95``, ``specificity_95``, ``youden`` or ``cost``.
        threshold: of the probability of the positive group, 0-1.
        called_positive: whether the answer reaches it.
        centers: centre -> ``sensitivity`` and so on, each ``{value, low, high}`` in percent.
    """

    name: str
    threshold: float
    called_positive: bool
    centers: Mapping[str, Any]


def points_of(results: Mapping[str, Any], positive_probability: float | None) -> list[Point]:
    """The points that a run has; none for older runs and runs without a positive group."""
    block = results.get("operating_points") or {}
    found = []
    for name, entry in (block.get("points") or {}).items():
        if entry.get("threshold") is None or positive_probability is None:
            continue
        threshold = float(entry["threshold"])
        reached = positive_probability >= threshold
        found.append(Point(name, threshold, reached, entry.get("centers") or {}))
    return found


def in_percent(estimate: Mapping[str, Any] | None) -> str:
    """``96.3 % (88.9 to 99.1)``; a dash where nothing is defined."""
    if not estimate or estimate.get("value") is None:
        return "–"
    text = f"{estimate['value']:.1f} %"
    if estimate.get("low") is None or estimate.get("high") is None:
        return text
    return f"{text} ({estimate['low']:.1f}–{estimate['high']:.1f})"
