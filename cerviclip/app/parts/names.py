"""``slide.svs#x,y,width,height,level`` and ``scan.dcm#frame``: a part of a file by its name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from dassl.errors import UserError

MARK = "#"
DICOM_SUFFIXES = (".dcm", ".dicom")
_SLIDES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide")
_TILE = re.compile(r"\d{1,9}(,\d{1,9}){3}(,\d{1,2})?")


@dataclass(frozen=True)
class Tile:
    """A rectangle of a slide.

    Args:
        x, y: its upper left corner, in px of level 0.
        width, height: in px of ``level``.
        level: 0 is the full resolution.
    """

    x: int
    y: int
    width: int
    height: int
    level: int = 0

    @classmethod
    def parse(cls, text: str) -> Tile:
        """From ``x,y,width,height[,level]``.

        Raises:
            UserError: it is something else.
        """
        if not _TILE.fullmatch(text):
            raise UserError(f"{text!r} is no tile (x,y,width,height or x,y,width,height,level)")
        return cls(*map(int, text.split(",")))


def split(path: str) -> tuple[str, str]:
    """File and part of a path; the part is "" for a whole file, also for one with ``#`` in its
    name."""
    if MARK not in path or os.path.exists(path):
        return path, ""
    file, _, part = path.rpartition(MARK)
    return file, part


def is_there(path: str) -> bool:
    """Whether the file is there that a path names, or names a part of."""
    return os.path.isfile(split(path)[0])


def is_slide_name(path: str) -> bool:
    """Whether a file is a slide by its suffix alone; a plain .tif may be one or none."""
    return path.lower().endswith(_SLIDES)
