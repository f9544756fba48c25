"""Masks, and other pictures of the same thing, among the images: told by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_WORDS = (
    r"masks?|masken?|masque|msk|segm?|segmentations?|segmented|gt|ground[-_ ]?truths?|labels?|"
    r"annotations?|annot"
)
# The word with a number of its own (_mask1, _mask_1), between signs or at an end of the name.
_WORD = re.compile(rf"(?:^|(?<=[-_. (]))(?P<word>{_WORDS})(?P<number>[-_ ]?\d*)(?=$|[-_. )])")
_HERLEV = "-d"
MASK_FOLDERS = {
    *("mask", "masks", "segmentation", "segmentations", "annotation", "annotations"),
    *("groundtruth", "ground_truth", "ground truth", "gt"),
}
_AFFIX = re.compile(r"^(?P<head>[^\W\d_]+[-_. ])|(?P<tail>[-_. ][^\W\d_]+)$")
_SIGNS = "-_. ()"
_WAY_OUT = "DATASET.LEAVE_OUT \"('{}',)\" leaves them out"


def warn_of_masks(paths: Sequence[str]) -> str:
    """A sentence on files that look like masks of the images beside them; "" if there are none.

    A mask is named as an image of its folder with a word for masks more or instead of another one,
    or lies in a folder that such a word names.
    """
    found: dict[str, list[str]] = defaultdict(list)
    names = _Names(paths)
    for path in paths:
        if pattern := names.mask_pattern(path) or names.folder_pattern(path):
            found[pattern].append(path)
    if not found:
        return ""
    pattern, some = max(found.items(), key=lambda pair: len(pair[1]))
    return (
        f"{len(some)} of {len(paths)} files look like masks of the images beside them (such as "
        f"{some[0]}) and are read as images; {_WAY_OUT.format(pattern)}"
    )


def warn_of_companions(paths: Sequence[str]) -> str:
    """A sentence on files that are named as another one beside them with one word more, which is no
    word for masks; "" if there are few. Masks are stored so, and views and outlines."""
    names = _Names(paths)
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if names.mask_pattern(path):
            continue
        folder, name = _folder_and_name(path)
        for affix in _AFFIX.finditer(name):
            rest = name[: affix.start()] + name[affix.end() :]
            if rest and rest in names.of[folder]:
                found[f"*{affix['tail']}.*" if affix["tail"] else f"{affix['head']}*"].append(path)
                break
    many = {pattern: some for pattern, some in found.items() if 10 * len(some) >= len(paths)}
    if not many:
        return ""
    pattern, some = max(many.items(), key=lambda pair: len(pair[1]))
    return (
        f"{len(some)} of {len(paths)} files have the name of another one and a word more (such as "
        f"{some[0]}); if they are masks, or other pictures of the same thing, "
        f"{_WAY_OUT.format(pattern)}"
    )


class _Part(NamedTuple):
    """Where a word stands in a name, and whether a number follows it there."""

    start: int
    end: int
    numbered: bool = False


class _Names:
    """Names of images by folder, both without suffix and in small letters.

    Attributes:
        of: names by folder.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.of: dict[str, set[str]] = defaultdict(set)
        self._bare: dict[str, set[str]] = defaultdict(set)  # without a word at either end
        self._folders: dict[str, set[str]] = defaultdict(set)  # by name
        for path in paths:
            folder, name = _folder_and_name(path)
            self.of[folder].add(name)
            self._folders[name].add(folder)
            if not any(_mask_words(name)):
                self._bare[folder] |= {
                    _without(name, _Part(*a.span())) for a in _AFFIX.finditer(name)
                }
        self._shared: dict[str, bool] = {}

    def mask_pattern(self, path: str) -> str:
        """A pattern of the masks that an image is one of by its name; "" where it is none."""
        folder, name = _folder_and_name(path)
        beside = self.of[folder]  # may hold very many names: no copy of it for each of them
        for word in _mask_words(name):
            before, after = _around(name, word)
            rest = _without(name, word)
            if not beside.isdisjoint({rest, before, after} - {name}) or rest in self._bare[folder]:
                return _pattern(name, word)
        return ""

    def folder_pattern(self, path: str) -> str:
        """The same by a folder's name. A word that may be a class counts only where most names in
        the folder are those of images elsewhere."""
        parts = path.split("/")[:-1]
        for depth, part in enumerate(parts):
            small = part.casefold()
            sure = small in MASK_FOLDERS and (depth > 0 or small.startswith("mask"))
            here = "/".join(parts[: depth + 1]).casefold()
            if sure or (_WORD.search(small) and self._is_shared(here)):
                return f"*/{part}/*" if depth else f"{part}/*"
        return ""

    def _is_shared(self, folder: str) -> bool:
        if folder not in self._shared:
            inside = [n for f, some in self.of.items() if _within(f, folder) for n in some]
            elsewhere = sum(
                any(not _within(f, folder) for f in self._folders[_image_name(name)])
                for name in inside
            )
            self._shared[folder] = 2 * elsewhere > len(inside)
        return self._shared[folder]


def _folder_and_name(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition(".")[0].casefold().rpartition("/")
    return folder, name


def _within(folder: str, outer: str) -> bool:
    return folder == outer or folder.startswith(f"{outer}/")


def _mask_words(name: str) -> Iterator[_Part]:
    """Words for a mask in a name, each with the number behind it and without."""
    for match in _WORD.finditer(name):
        yield _Part(match.start(), match.end(), bool(match["number"]))
        if match["number"]:
            yield _Part(match.start(), match.end("word"))
    if name.endswith(_HERLEV):
        yield _Part(len(name) - len(_HERLEV), len(name))


def _around(name: str, part: _Part) -> tuple[str, str]:
    return name[: part.start].rstrip(_SIGNS), name[part.end :].lstrip(_SIGNS)


def _without(name: str, part: _Part) -> str:
    """A name without a part of it, and without the sign that set it off."""
    before, after = _around(name, part)
    sign = name[part.start - 1] if before and after else ""
    return f"{before}{sign}{after}"


def _pattern(name: str, part: _Part) -> str:
    """The pattern of names with that part at that place."""
    start = part.start - (part.start > 0 and name[part.start - 1] in _SIGNS)
    word = name[start : part.end].rstrip("0123456789" + _SIGNS) if part.numbered else ""
    word = f"{word}*" if part.numbered else name[start : part.end]
    if part.end < len(name):
        return f"{'*' if start else ''}{word}{'' if part.numbered else name[part.end]}*"
    return f"*{word}.*"


def _image_name(name: str) -> str:
    """The name of the image that a mask in another folder belongs to."""
    part = next(_mask_words(name), None)
    return _without(name, part) if part else name
