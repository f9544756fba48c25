"""Nearest names, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def similarity(a: str, b: str) -> float:
    """1 for equal strings, 0 for strings with nothing in common; capitals count half."""
    exact = difflib.SequenceMatcher(None, a, b).ratio()
    folded = difflib.SequenceMatcher(None, a.lower(), b.lower()).ratio()
    return (exact + folded) / 2


def nearest(name: str, names: Iterable[str], cutoff: float = 0.55) -> str:
    """The name most like ``name``, or "" if none is like it."""
    best = max(names, key=lambda other: similarity(name, other), default="")
    return best if best and similarity(name, best) >= cutoff else ""
