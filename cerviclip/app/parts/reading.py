"""Tiles of slides and frames of DICOM files as 8-bit RGB."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from cerviclip.app.parts.dicom import MOST_FRAMES, dicom_frames, is_dicom
from cerviclip.app.parts.names import DICOM_SUFFIXES, Tile
from cerviclip.data.slides import Slide
from dassl.errors import UserError

MOST_PIXELS = 50_000_000  # of a tile or a frame


def is_dicom_file(path: str) -> bool:
    with open(path, "rb") as handle:
        return is_dicom(handle.read(132))


def read_part(file: str, part: str) -> Image.Image:
    """A tile of a slide, or a frame of a DICOM file.

    Args:
        file: that is there.
        part: ``x,y,width,height[,level]`` or a frame's number from 0; "" for the only frame.

    Raises:
        UserError: there is no such part, or the file is neither; the message does not name it.
    """
    if is_dicom_file(file):
        return read_frame(Path(file).read_bytes(), part)
    if file.lower().endswith(DICOM_SUFFIXES):
        raise UserError(
            "it is no DICOM file (its bytes 129 to 132 are not DICM); fetch it again, or save it "
            "as DICOM Part 10"
        )
    slide = Slide(Path(file))
    try:
        return read_tile(slide, Tile.parse(part))
    finally:
        slide.close()


def read_tile(slide: Slide, tile: Tile, pixels: int = MOST_PIXELS) -> Image.Image:
    """A tile that lies in the slide.

    Args:
        pixels: most that it may have.

    Raises:
        UserError: it is empty or too large, or reaches beyond the slide.
    """
    if not 0 < tile.width * tile.height <= pixels:
        raise UserError(
            f"a tile of {tile.width}x{tile.height} px is not taken; 1 to {pixels} px are"
        )
    return slide.tile(tile.x, tile.y, tile.width, tile.height, tile.level)


def read_frame(data: bytes, part: str, pixels: int = MOST_PIXELS) -> Image.Image:
    """A frame of a DICOM file.

    Args:
        data: the file.
        part: its number from 0; "" where there is one alone.
        pixels: most that it may have.

    Raises:
        UserError: no such frame, or several and none is chosen.
    """
    if part and not part.isdigit():
        raise UserError(f"{part!r} is no number of a frame (from 0)")
    frames = dicom_frames(data, pixels, MOST_FRAMES if part else 1, int(part) if part else None)
    return Image.fromarray(frames[0])
