"""Opening an image file by Pillow, past what Pillow does wrongly with some of them."""

from __future__ import annotations

import os
from typing import IO, Any

from PIL import Image

_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)  # orientations that exchange width and height


def open_image(source: str | os.PathLike[str] | IO[bytes], **options: Any) -> Image.Image:
    """``Image.open``, for whatever is to be decoded.

    Of a TIFF that its orientation lays on its side, Pillow (11 to 13) maps an uncompressed file of
    grey, palette, CMYK or RGBA into memory with the width and height of the upright picture: rows
    of a wrong length, and no error. Such a file is read instead of mapped.

    Args:
        source: a file's path, or an open file.
        options: of ``Image.open``.
    """
    return not_mapped(Image.open(source, **options))


def not_mapped(image: Image.Image) -> Image.Image:
    """An image that is open and not decoded yet, in the way of `open_image`."""
    if image.format == "TIFF" and _orientation(image) in _ON_ITS_SIDE:
        opened: Any = image
        opened.filename = ""  # Pillow maps files alone whose name it knows
    return image


def _orientation(image: Image.Image) -> Any:
    tags: Any = getattr(image, "tag_v2", {})
    try:
        return tags.get(_ORIENTATION)
    except Exception:  # a damaged tag: Pillow raises anything, here as when it decodes the file
        return None
