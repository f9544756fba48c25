"""Centres whose labels are coarser than the training's: negative or positive, and no class.

``DATASET.BINARY_MAP`` says which of their class names mean which group. A model of many classes is
then scored there on its positive group, without another training. Such labels are negative numbers,
which no class has. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.data.files.names import clean
from dassl.errors import UserError

POSITIVE, NEGATIVE = -1, -2
NAMES = {POSITIVE: "(positive)", NEGATIVE: "(negative)"}  # in predictions.csv: no class's names
_WORDS = {"positive": POSITIVE, "negative": NEGATIVE}


def binary_map_of(options: Mapping[Any, Any]) -> dict[str, int | None]:
    """``DATASET.BINARY_MAP`` as class name: group; None leaves a class out.

    Raises:
        UserError: a value that is neither positive nor negative nor empty.
    """
    groups: dict[str, int | None] = {}
    for name, word in options.items():
        text = "" if word is None else clean(word).casefold()
        if isinstance(name, bool) or name is None or (text and text not in _WORDS):
            raise UserError(
                f"DATASET.BINARY_MAP has {name!r}: {word!r}; give each class name, in quotes, "
                'positive or negative, or "" to leave it out'
            )
        groups[clean(name)] = _WORDS.get(text)
    return groups


def group_of(classname: str, groups: Mapping[str, int | None], positive: Sequence[str]) -> int:
    """The group of a class that the training knows: that of its own positive group.

    Args:
        classname: one of the training's.
        groups: of ``binary_map_of``, which comes first.
        positive: the training's positive classes.
    """
    stated = groups.get(classname)
    return stated if stated is not None else POSITIVE if classname in positive else NEGATIVE


def label_name(label: int, classnames: Sequence[str]) -> str:
    """A label as predictions.csv says it."""
    return NAMES[label] if label in NAMES else classnames[label]


def is_coarse(labels: Any) -> bool:
    """Whether labels say the group alone."""
    return len(labels) > 0 and int(min(labels)) < 0


def class_stand_ins(
    labels: Sequence[int], classnames: Sequence[str], positive: Sequence[str]
) -> list[int]:
    """Labels of classes for coarse ones: one class of each group stands for all of it."""
    one = list(classnames).index(next(iter(positive)))
    other = next((c for c, name in enumerate(classnames) if name not in positive), one)
    return [one if label == POSITIVE else other for label in labels]
