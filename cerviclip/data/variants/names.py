"""Variants and their originals, told by file names alone.

A variant of ``001_01.bmp`` lies beside it as ``001_01.bmp.aug03-mirror.png``. The original's whole
name stands in the variant's, so that whose image it is, and which part of a split it belongs to,
never depends on a list that may get lost.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

_NAME = re.compile(r"\.aug\d{2}-[a-z]+\.png$")


class _HasPath(Protocol):
    @property
    def path(self) -> str: ...


ItemT = TypeVar("ItemT", bound=_HasPath)


def variant_name(original: str, number: int, kind: str) -> str:
    """The file of a variant, from the original's with its suffix."""
    return f"{original}.aug{number:02d}-{kind}.png"


def original_of(path: str) -> str:
    """The path of the original of a variant; any other path as it is."""
    return _NAME.sub("", path)


def is_variant(path: str) -> bool:
    """Whether a file is a variant by its name."""
    return _NAME.search(path) is not None


def originals(items: Iterable[ItemT]) -> list[ItemT]:
    """Those that are no variants."""
    return [item for item in items if not is_variant(item.path)]


def heads(items: Iterable[ItemT]) -> list[ItemT]:
    """One image of each original: itself, or its first variant where it is not there."""
    found: dict[str, ItemT] = {}
    for item in items:
        key = original_of(item.path)
        if key not in found or item.path < found[key].path:  # an original's path is the shortest
            found[key] = item
    return list(found.values())


def with_variants(drawn: Sequence[ItemT], items: Iterable[ItemT]) -> list[ItemT]:
    """Images and behind each all others of the same original, by number.

    Args:
        drawn: some of ``heads(items)``.
        items: all images that count.
    """
    members: dict[str, list[ItemT]] = defaultdict(list)
    for item in items:
        members[original_of(item.path)].append(item)
    return [
        item
        for head in drawn
        for item in sorted(members[original_of(head.path)], key=lambda item: item.path)
    ]


def torn_families(split: Mapping[str, Sequence[ItemT]], below: Mapping[str, str]) -> list[str]:
    """Variants in another part than their original, as ``PATH in PART (original in PART)``.

    Args:
        split: part -> images.
        below: each image's path below the folders of train, val and test.
    """
    home: dict[str, str] = {}
    for part, items in split.items():
        for item in originals(items):
            home.setdefault(below[item.path], part)
    first: dict[str, str] = dict(home)
    torn = []
    for part, items in split.items():
        for item in (item for item in items if is_variant(item.path)):
            other = first.setdefault(original_of(below[item.path]), part)
            if other != part:
                torn.append(f"{item.path} in {part}, its original or its like in {other}")
    return torn
