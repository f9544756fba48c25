"""Generalisation gap: by how much a metric is better inside than at an external centre."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cerviclip.evaluation.measures.sample import metric
from cerviclip.evaluation.names import BINARY, IN_DOMAIN, OVERALL

METHOD = "MOVER of the two centres' intervals (Newcombe)"


def difference_interval(
    one: tuple[float, float, float], two: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Difference of independent estimates (value, low, high) with limits (Zou and Donner 2008)."""
    (a, la, ua), (b, lb, ub) = one, two
    gap = a - b
    return gap, gap - np.hypot(a - la, ub - b), gap + np.hypot(ua - a, b - lb)


def generalisation_gap(centers: Mapping[str, Any]) -> dict[str, Any]:
    """Inside minus outside for each external centre, from the centres' own entries.

    Args:
        centers: of results.json. The patients of two centres are taken as different people.

    Returns:
        centre -> metric -> difference in the metric's unit; metrics of the positive group are
        named ``binary.auc`` and so on. ECE is better when low, so a negative gap is a loss there.
    """
    others = {name: entry for name, entry in centers.items() if name != IN_DOMAIN}
    if IN_DOMAIN not in centers or not others:
        return {}
    inside = _flat(centers[IN_DOMAIN])
    return {
        name: {key: _gap(inside[key], outside) for key, outside in _flat(entry).items()}
        for name, entry in others.items()
    }


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: entry[name] for name in OVERALL}
    return found | {f"binary.{name}": entry["binary"][name] for name in BINARY}


def _gap(inside: Mapping[str, Any], outside: Mapping[str, Any]) -> dict[str, Any]:
    for where, cell in (("inside", inside), ("outside", outside)):
        if cell["value"] is None:
            return metric(np.nan, reason=f"{where}: {cell['reason']}")
    for where, cell in (("inside", inside), ("outside", outside)):
        if cell["low"] is None:
            gap = inside["value"] - outside["value"]
            return metric(gap, reason=f"{where}: {cell['reason']}")
    one, two = ((c["value"], c["low"], c["high"]) for c in (inside, outside))
    value, low, high = difference_interval(one, two)
    return metric(value, (low, high))
