"""A number of results.json as people read it: ``71.6 [62.9, 79.2]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INTERVAL = "95 % interval by patient in brackets."  # with every table and list that has them


def cell(entry: Mapping[str, Any] | None, digits: int = 1) -> str:
    """A number with its interval."""
    if not entry or entry.get("value") is None:
        return "-"
    text = signed(entry["value"], digits)
    if entry.get("low") is None and entry.get("high") is None:
        return text
    low, high = (
        "-∞" if side == "low" and entry[side] is None
        else "∞" if entry[side] is None
        else signed(entry[side], digits)
        for side in ("low", "high")
    )  # fmt: skip
    return f"{text} [{low}, {high}]"


def signed(value: float, digits: int) -> str:
    """With a true minus; no minus before a zero."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:.{digits}f}".replace("-", "−")
