"""The sizes that compressed DICOM frames state themselves, before anything decodes them.

Rows and Columns of the header are what limits count, and a decoder follows the compressed picture.
"""

from __future__ import annotations

from typing import Any

from cerviclip.app.parts import jpeg

_RLE = "1.2.840.10008.1.2.5"
_J2K = b"\xff\x4f\xff\x51"  # SOC and SIZ, with which a JPEG 2000 codestream begins
_UNKNOWN = (0, 0)  # px
_PADDING = 128  # bytes that a decoded RLE segment may have too many


def misfit(file: Any, count: int) -> str:
    """What of a compressed DICOM file is not as its header says; "" where all is.

    Args:
        file: of pydicom.
        count: of frames, by the header.
    """
    from pydicom.encaps import generate_frames

    syntax = file.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return ""
    names = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
    offsets = tuple(file[name].value for name in names) if names[0] in file else None
    wanted, number = (int(file.Columns), int(file.Rows)), 0
    for data in generate_frames(file.PixelData, number_of_frames=count, extended_offsets=offsets):
        number += 1
        if number > count:
            return f"it has more than the {count} frames of its header"
        if syntax == _RLE:
            if _has_more(data, wanted[0] * wanted[1] + _PADDING):
                return (
                    f"frame {number - 1} has more than the {wanted[0]}x{wanted[1]} px of its header"
                )
        elif found := _sizes(data) - {wanted}:
            width, height = found.pop()
            if (width, height) == _UNKNOWN:
                return f"frame {number - 1} is no JPEG, JPEG-LS, JPEG 2000 or RLE"
            return (
                f"frame {number - 1} is compressed with {width}x{height} px, and the header has "
                f"{wanted[0]}x{wanted[1]}"
            )
    return ""


def _sizes(data: bytes) -> set[tuple[int, int]]:
    """Every width and height that a JPEG, JPEG-LS or JPEG 2000 picture states."""
    if data.startswith(b"\xff\xd8"):
        return set(jpeg.sizes(data)) or {_UNKNOWN}
    at = data.find(_J2K)
    if at < 0:
        return {_UNKNOWN}
    right, low, left, top = (
        int.from_bytes(data[n : n + 4], "big") for n in range(at + 8, at + 24, 4)
    )
    return {(right - left, low - top)}


def _has_more(frame: bytes, most: int) -> bool:
    """Whether a segment of an RLE frame (PS3.5, annex G) has more bytes than that."""
    heads = [int.from_bytes(frame[n : n + 4], "little") for n in range(0, 64, 4)]
    starts = [*heads[1 : heads[0] + 1], len(frame)]
    for start, stop in zip(starts, starts[1:], strict=False):
        at = size = 0
        segment = frame[start:stop]
        while at < len(segment):
            run = segment[at]
            size += run + 1 if run < 128 else 257 - run if run > 128 else 0
            at += run + 2 if run < 128 else 2 if run > 128 else 1
            if size > most:
                return True
    return False
