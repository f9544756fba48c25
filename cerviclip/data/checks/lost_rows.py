"""Rows of a JPEG whose data were lost, told from a plain gray margin.

A JPEG that was cut and given an end marker decodes without an error; its decoder shows blocks
without data in the middle gray. A margin of that gray has data of its own.
"""

from __future__ import annotations

import io
import random

import numpy as np
from PIL import Image

_NOTHING, _BLOCK = 128, 8  # the value of a block without data, and a block's edge in px
_MODES = ("L", "RGB", "RGBA", "CMYK")
_SOS, _EOI = 0xDA, 0xD9
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))  # markers that nothing follows
_TRIES, _MORE = 3, 512  # how often other data are tried, and bytes of each


def lost_rows(image: Image.Image, content: bytes) -> tuple[int, bool]:
    """Rows at the end of a picture that a JPEG's decoder filled with gray, for want of data.

    A JPEG lacks data if other data put before its end marker change the picture: a decoder ignores
    them after the last block. A file that has all its data can be a cut one that was saved anew.
    Then the gray begins within a row of blocks, where a margin begins at the left edge.

    Args:
        image: the decoded picture.
        content: its file if it is a JPEG, else nothing.

    Returns:
        The number of rows, 0 for none, and whether the file itself lacks their data. Gray above
        the picture as well is a border that somebody gave it.
    """
    if image.mode not in _MODES or not _is_gray(np.asarray(image.crop(_lowest(image)))).all():
        return 0, False
    rows = np.asarray(image)
    empty = _is_gray(rows)
    whole = np.logical_and.reduce(empty, axis=1)
    if whole[0]:
        return 0, False
    lost = int(np.argmin(whole[::-1]))  # the first row from below that holds anything
    if _lacks_data(content, rows):
        return lost, True
    return (lost, False) if _begins_within(image) else (0, False)


def _lowest(image: Image.Image) -> tuple[int, int, int, int]:
    return 0, max(0, image.height - _BLOCK), image.width, image.height


def _is_gray(rows: np.ndarray) -> np.ndarray:
    """(height, width): pixels of the middle gray, whatever their transparency."""
    colours = rows.reshape(*rows.shape[:2], -1)
    colours = colours[..., :3] if colours.shape[-1] > 1 else colours
    return np.logical_and.reduce(colours == _NOTHING, axis=-1)


def _lacks_data(content: bytes, rows: np.ndarray) -> bool:
    end = _end_of_scan(content)
    if end is None:
        return False
    draw = random.Random(0)
    for _ in range(_TRIES):
        more = bytes(draw.randrange(1, 255) for _ in range(_MORE))  # no 0xFF: no marker
        for data in (more, b"".join(b"\xff%c" % (0xD0 + n) + more[:64] for n in range(8))):
            try:
                changed = io.BytesIO(content[:end] + data + content[end:])
                with Image.open(changed, formats=("JPEG",)) as other:
                    if not np.array_equal(np.asarray(other), rows):
                        return True
            except (OSError, SyntaxError, ValueError):
                return True  # a decoder that reads on stumbles over them
    return False


def _end_of_scan(content: bytes) -> int | None:
    """Where the data of a JPEG's first scan end; None if its segments lead nowhere."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker == _EOI:
            return None
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
            if marker == _SOS:
                return _next_marker(content, at)
    return None


def _next_marker(content: bytes, at: int) -> int | None:
    """The next marker that is none of the data's own (0xFF00, and restarts)."""
    while (at := content.find(b"\xff", at)) >= 0 and at + 1 < len(content):
        following = content[at + 1]
        if following == 0xFF:
            at += 1
        elif following == 0 or 0xD0 <= following <= 0xD7:
            at += 2
        else:
            return at
    return None


def _begins_within(image: Image.Image) -> bool:
    """Whether the gray begins inside a row of blocks: right of a column, one row of blocks higher.

    Brightness alone is asked: colours that were stored at half the size reach into the gray.
    """
    bright = np.asarray(image.convert("L")).astype(np.int16)
    empty = np.abs(bright - _NOTHING) <= 1
    lost = int(np.argmin(np.logical_and.reduce(empty, axis=1)[::-1]))
    top = len(empty) - lost
    if top % _BLOCK:
        return False
    for height in (_BLOCK, 2 * _BLOCK):
        if top <= height:
            continue
        columns = np.logical_and.reduce(empty[top - height : top])
        start = len(columns) - int(np.argmin(columns[::-1]))  # right of the last column with more
        above = empty[top - height - 1, start:]
        if start % _BLOCK == 0 and len(above) >= _BLOCK // 2 and not above.all():
            return not columns[:_BLOCK].all()
    return False
