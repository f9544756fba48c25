"""Files that are a picture and something else at once, which another program would open or run.

What stands behind a picture's end is searched for the first bytes of other formats. A picture that
hides something inside its own parts (a comment, a colour profile) is not found.
"""

from __future__ import annotations

import io
import re
import zipfile

from PIL import Image

from cerviclip.app.parts import jpeg

_OTHERS = re.compile(
    rb"PK\x03\x04[\x0a-\x3f]\0|PK\x05\x06|%PDF-|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c"
    rb"|(?i:<\?php|<script|<html|<!doctype html)"
)
_PDF_STARTS_WITHIN = 1024  # bytes: readers of PDF look so far for its first line
_PREAMBLES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of a DICOM file that is TIFF too
_STRIPS = ((273, 279), (324, 325))  # tags of TIFF: places and lengths of strips, and of tiles


def is_more(data: bytes, kind: str) -> bool:
    """Whether a file is a picture of a kind and something else at once.

    Args:
        kind: by its first bytes: PNG, JPEG, TIFF, BMP or DICOM.
    """
    tail = data[_END_OF[kind](data) :] if kind in _END_OF else b""
    return (
        _OTHERS.search(tail) is not None
        or (kind == "DICOM" and _has_preamble(data))
        or b"%PDF-" in data[:_PDF_STARTS_WITHIN]
        or zipfile.is_zipfile(io.BytesIO(data))
    )


def is_more_than_tiff(data: bytes, end: int) -> bool:
    """Whether something else stands behind a TIFF's strips, where its own tables may stand too.

    Args:
        end: of the strips of all pages.
    """
    return _OTHERS.search(data, end) is not None


def end_of_page(image: Image.Image) -> int:
    """Where the last strip or tile of an open TIFF's page ends; 0 where the page does not say."""
    tags, ends = image.tag_v2, [0]  # type: ignore[attr-defined]
    for places, lengths in _STRIPS:
        pairs = zip(_numbers(tags.get(places)), _numbers(tags.get(lengths)), strict=False)
        ends += [place + length for place, length in pairs]
    return max(ends)


def end_of_png(data: bytes) -> int:
    """Where the chunk IEND ends; the whole length where there is none, which decoders notice."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        at, name = at + 12 + length, data[at + 4 : at + 8]
        if name == b"IEND":
            return at
    return len(data)


def _end_of_bmp(data: bytes) -> int:
    """The size that the header states, or where uncompressed rows end if that is sooner: the
    stated one may be 0, or may take in what was added."""
    stated, start, head = (_little(data, at) for at in (2, 10, 14))
    ends = [stated] if stated else []
    if head >= 40 and _little(data, 30) in (0, 3):
        height = int.from_bytes(data[22:26], "little", signed=True)  # below 0: rows from the top
        row = (_little(data, 18) * _little(data, 28, 2) + 31) // 32 * 4
        ends.append(start + row * abs(height))
    elif head == 12:
        row = (_little(data, 18, 2) * _little(data, 24, 2) + 31) // 32 * 4
        ends.append(start + row * _little(data, 20, 2))
    return min(ends, default=len(data))


def _has_preamble(data: bytes) -> bool:
    return any(data[:128]) and not data.startswith(_PREAMBLES)


def _little(data: bytes, at: int, count: int = 4) -> int:
    return int.from_bytes(data[at : at + count], "little")


def _numbers(value: object) -> tuple[int, ...]:
    values = value if isinstance(value, tuple) else (value,)
    return tuple(one for one in values if isinstance(one, int))


_END_OF = {"JPEG": jpeg.end, "BMP": _end_of_bmp}  # some cameras append data to a JPEG: fine
