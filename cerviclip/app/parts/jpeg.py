"""The marker segments of a JPEG file (ITU-T T.81, annex B): its sizes, and where it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SOS, _EOI = 0xDA, 0xD9
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15, and that of JPEG-LS
# In coded data FF stands before 00, a restart marker, or (JPEG-LS) a byte below 80.
_NEXT = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")


def sizes(data: bytes) -> list[tuple[int, int]]:
    """Width and height that each frame header before the first scan states, in px."""
    found = []
    for marker, start, _ in _segments(data):
        if marker == _SOS:
            break
        if marker in _FRAMES:
            height, width = (
                int.from_bytes(data[at : at + 2], "big") for at in (start + 3, start + 5)
            )
            found.append((width, height))
    return found


def end(data: bytes) -> int:
    """Where the picture ends: behind its EOI. Where its segments are broken, behind the first two
    bytes that could be one; the whole length where there is none."""
    for marker, _, after in _segments(data):
        if marker == _EOI:
            return after
    first = data.find(bytes((0xFF, _EOI)))
    return first + 2 if first >= 0 else len(data)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, place of its length, and end of each segment, as far as they follow one another."""
    at = 2
    while at + 1 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker == _EOI:
            yield marker, at + 2, at + 2
            return
        else:
            start = at + 2
            at = start + int.from_bytes(data[start : start + 2], "big")
            yield marker, start, at
            if marker == _SOS:
                behind = _NEXT.search(data, at)
                at = behind.start() if behind else len(data)
