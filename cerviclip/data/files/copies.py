"""Images that are copies of each other: found by their bytes, kept in one part of a split."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cerviclip.counted import counted
from cerviclip.data.files.hashes import image_hashes
from cerviclip.data.images.facts import Facts, facts_of, facts_of_all
from cerviclip.data.split.patient_grouped import PARTS, Item, Split
from dassl.utils.images import decode_image

_PAIRS = 100  # pictures of the same name that are compared pixel by pixel
_GLANCE = 2048  # bytes at the start, the middle and the end that copies share


class Contents:
    """Which files hold the very bytes of one of ``paths``; files are read only where sizes agree,
    and their hashes are remembered with the store's."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths: dict[int, list[str]] = {}
        for path in paths:
            self.paths.setdefault(_size(path), []).append(path)
        self.digests: dict[int, set[str]] = {}

    def found_in(self, paths: Iterable[str]) -> list[str]:
        found = [path for path in paths if self._has(path)]
        if self.digests:
            image_hashes().flush()
        return found

    def _has(self, path: str) -> bool:
        size = _size(path)
        if size not in self.paths or size < 0:
            return False
        hashes = image_hashes()
        if size not in self.digests:
            self.digests[size] = {hashes.sha256(own) for own in self.paths[size]}
        return hashes.sha256(path) in self.digests[size]


def resaved_among(paths: Sequence[str], others: Sequence[str]) -> list[str]:
    """Files that hold the pixels of another of the same name, saved anew (such as BMP of PNG).

    Looks at the first hundred pairs with the same stem and size in px; blank pictures say nothing.
    """
    by_stem: dict[str, str] = {Path(other).stem: other for other in others}
    pairs = [(path, by_stem[stem]) for path in paths if (stem := Path(path).stem) in by_stem]
    found, looked = [], 0
    for path, other in pairs:
        one, two = facts_of(path), facts_of(other)
        if one is None or two is None or one.size != two.size:
            continue
        looked += 1
        if looked > _PAIRS:
            break
        pixels = np.asarray(decode_image(path))
        if pixels.std() > 1 and np.array_equal(pixels, np.asarray(decode_image(other))):
            found.append(path)
    return found


def groups_of_copies(
    folder: str, items: Sequence[Item], known: Mapping[str, Facts] | None = None
) -> list[list[Item]]:
    """Groups of images with the same bytes.

    Only files of one size that also agree in three places are read whole.

    Args:
        folder: the items' paths are relative to it.
        items: the images.
        known: facts of the files, where they are at hand.
    """
    known = facts_of_all(f"{folder}{os.sep}{i.path}" for i in items) if known is None else known
    by_size: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        facts = known.get(f"{folder}{os.sep}{item.path}")
        if facts is not None:
            by_size[facts.bytes].append(item)
    likely: dict[tuple[int, bytes], list[Item]] = defaultdict(list)
    for size, members in by_size.items():
        if len(members) > 1 and size > 0:
            for item in members:
                likely[size, _glance(f"{folder}{os.sep}{item.path}", size)].append(item)
    hashes = image_hashes()
    same: dict[str, list[Item]] = defaultdict(list)
    for members in likely.values():
        if len(members) > 1:
            for item in members:
                same[hashes.sha256(f"{folder}{os.sep}{item.path}")].append(item)
    if same:
        hashes.flush()
    return [group for group in same.values() if len(group) > 1]


def joined(items: Sequence[Item], groups: Iterable[Iterable[Item]]) -> list[Item]:
    """Items whose patients are one where their images are in one group, for splitting only."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.get(name, name) != name:
            name = leader[name]
        return name

    for group in groups:
        names = sorted({find(item.patient) for item in group})
        leader |= dict.fromkeys(names, names[0])
    return [replace(item, patient=find(item.patient)) for item in items] if leader else list(items)


def as_they_were(split: Mapping[str, Sequence[Item]], items: Sequence[Item]) -> Split:
    """A split of `joined` items with the items' own patients."""
    own = {item.path: item for item in items}
    return {part: [own[item.path] for item in members] for part, members in split.items()}


def count_copies(groups: Sequence[Sequence[Item]]) -> str:
    """How many images are copies, and one of them."""
    number, first = sum(len(group) - 1 for group in groups), groups[0]
    return f"{number} images are copies of another one (such as {first[1].path} of {first[0].path})"


def warn_of_copies(
    groups: Sequence[Sequence[Item]], split: Mapping[str, Sequence[Item]]
) -> list[str]:
    """What to warn of in copies: those in several parts, and under several classes."""
    said = []
    if across := across_parts(groups, split):
        one, part_of = across[0], _part_of(split)
        first = {part_of[item.path]: item.path for item in one if item.path in part_of}
        pair = " and ".join(f"{path} in {part}" for part, path in list(first.items())[:2])
        said.append(
            f"{counted(len(across), 'image', 'lie')} in several parts of the split as copies (such "
            f"as {pair}): what is tested was trained on"
        )
    unlike = [group for group in groups if len({item.classname for item in group}) > 1]
    if unlike:
        ordered = sorted(unlike[0], key=lambda item: item.classname)
        a, b = ordered[0], ordered[-1]
        said.append(
            f"{counted(len(unlike), 'image', 'have')} several classes as copies (such as {a.path}, "
            f"{a.classname}, and {b.path}, {b.classname})"
        )
    return said


def across_parts(
    groups: Sequence[Sequence[Item]], split: Mapping[str, Sequence[Item]]
) -> list[Sequence[Item]]:
    """Groups of copies that lie in more than one part of a split."""
    part_of = _part_of(split)
    return [g for g in groups if len({part_of[i.path] for i in g if i.path in part_of}) > 1]


def _part_of(split: Mapping[str, Sequence[Item]]) -> dict[str, str]:
    return {item.path: part for part in PARTS for item in split[part]}


def _glance(path: str, size: int) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        for place in (0, size // 2, max(0, size - _GLANCE)):
            file.seek(place)
            digest.update(file.read(_GLANCE))
    return digest.digest()


def _size(path: str) -> int:
    """Size in bytes; -1 of a file that is not there, which whoever reads it will say."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
