"""From the paths that a list holds, perhaps another machine's, to the images of a data set."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

from cerviclip.data.files.names import clean
from dassl.errors import UserError

_DRIVE = re.compile(r"^(?:[A-Za-z]:/|//|/|~)")


class ListedPaths:
    """Finds listed images among those of a folder.

    A path is taken as it stands, relative to the folder, the root or ``more``; otherwise its
    longest tail that is an image of the folder counts (class folder and file name at least), then
    the same without regard to capitals and to how Unicode composes letters; last a path without
    suffix, or a bare file name, of which there is one.

    Args:
        source: the list's name, for errors.
        known: paths of all images, relative to ``folder``.
        root: ``DATASET.ROOT``, which no path may leave.
        folder: the image folder.
        more: further folders that paths may be relative to.

    Attributes:
        by_tail: paths that only their tails told, as (listed, found).
    """

    def __init__(
        self,
        source: str,
        known: Collection[str],
        root: str,
        folder: str,
        more: Collection[str] = (),
    ) -> None:
        self.source, self.known, self.root, self.folder = source, known, root, folder
        self.bases = list(dict.fromkeys([root, folder, *more]))
        self.by_tail: list[tuple[str, str]] = []
        self._alike: dict[str, list[str]] = {}

    def find(self, path: str) -> str:
        """The image's path relative to the folder; "" where there is none.

        Raises:
            UserError: the path leaves the root and is not known by its tail.
        """
        if path in self.known:
            return path
        for base in self.bases:
            found = self._inside(os.path.join(base, path))
            if found in self.known:
                return found
        tail = self._by_tail(path)
        if tail:
            self.by_tail.append((path, tail))
            return tail
        if not _DRIVE.match(path) or path.startswith("/"):
            self._check_inside(path)
        return ""

    def find_entry(self, path: str, alone: str = "") -> str:
        """The same of a path with the folder of a column before it, else of the path alone."""
        return self.find(path) or (self.find(alone) if alone else "")

    def notes(self) -> list[str]:
        """What to say of paths known by their tails only."""
        if not self.by_tail:
            return []
        listed, found = self.by_tail[0]
        return [
            f"{len(self.by_tail)} paths were found by their last parts alone (such as {listed}, "
            f"taken as {found})"
        ]

    def _inside(self, full: str) -> str:
        """A full path relative to the folder, links followed on both sides where need be."""
        relative = os.path.relpath(os.path.normpath(full), self.folder).replace(os.sep, "/")
        if relative.startswith("../") and os.path.exists(full):
            real = os.path.relpath(os.path.realpath(full), os.path.realpath(self.folder))
            return real.replace(os.sep, "/")
        return relative

    def _by_tail(self, path: str) -> str:
        parts = [part for part in os.path.normpath(path).replace(os.sep, "/").split("/") if part]
        tails = ["/".join(parts[start:]) for start in range(len(parts))]
        # A file name alone tells too little, unless the listed path is nothing else.
        tails = [tail for tail in tails if "/" in tail or len(parts) == 1]
        for tail in tails:
            if tail in self.known:
                return tail
        if not self._alike:
            alike: dict[str, list[str]] = defaultdict(list)
            for known in self.known:
                alike[clean(known).casefold()].append(known)
            self._alike = dict(alike)
        for alike in (self._alike, self._without_suffix):
            for tail in tails:
                found = alike.get(clean(tail).casefold(), [])
                if len(found) == 1:
                    return found[0]
        return ""

    @cached_property
    def _without_suffix(self) -> dict[str, list[str]]:
        """Images by path without suffix, as some lists name them, and by file name alone where it
        is the only one."""
        alike: dict[str, list[str]] = defaultdict(list)
        for known in self.known:
            stem, name = os.path.splitext(known)[0], os.path.basename(known)
            for key in {stem, name, os.path.splitext(name)[0]}:
                alike[clean(key).casefold()].append(known)
        return dict(alike)

    def _check_inside(self, path: str) -> None:
        full = os.path.join(self.root, path)
        if Path(os.path.normpath(full)).is_relative_to(self.root):
            return
        if os.path.exists(full) and Path(os.path.realpath(full)).is_relative_to(
            os.path.realpath(self.root)
        ):
            return
        raise UserError(
            f"{self.source} points outside the data's root {self.root}: {path}; its paths must lie "
            "under DATASET.ROOT"
        )
