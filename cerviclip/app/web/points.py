"""Figures of operating points in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_percent(estimate: Mapping[str, Any] | None) -> str:
    """``96.3 % (88.9–99.1)``; a dash where nothing is defined."""
    if not estimate or estimate.get("value") is None:
        return "–"
    text = f"{estimate['value']:.1f} %"
    if estimate.get("low") is None or estimate.get("high") is None:
        return text
    return f"{text} ({estimate['low']:.1f}–{estimate['high']:.1f})"
