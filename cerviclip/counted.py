"""Numbers with their nouns, as messages say them."""

from __future__ import annotations

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
