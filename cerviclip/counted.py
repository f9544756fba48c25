"""Numbers with their nouns, as messages say them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_SINGULAR = {"are": "is", "have": "has", "were": "was"}


def counted(number: int, noun: str, verb: str = "") -> str:
    """``1 patient``, ``7 patients``, ``1 image has``, ``7 images have``.

    Args:
        number: how many.
        noun: of one; its plural ends in s, or in es after an s.
        verb: of several, if one follows.
    """
    if number == 1:
        words = [noun, _SINGULAR.get(verb, verb and f"{verb}s")]
    else:
        words = [f"{noun}es" if noun.endswith("s") else f"{noun}s", verb]
    return " ".join([f"{number:,}", *filter(None, words)])


def some_of(names: Sequence[str], most: int = 4) -> str:
    """``a, b, c, d and 3 more``."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def most_of(counts: Counter[str], most: int = 4) -> str:
    """``6 .dcm, 2 .heic``: the largest numbers first, equal ones by name."""
    ranked = sorted(counts.items(), key=lambda found: (-found[1], found[0]))
    return ", ".join(f"{number} {name}" for name, number in ranked[:most])
