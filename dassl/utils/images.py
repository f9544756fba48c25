"""Reading image files as 8-bit RGB, whatever they hold, and finding broken ones early."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from dassl.errors import MissingFileError, UserError

# Pillow's modes with more than 8 bits: ``convert("RGB")`` would clip them at 255.
_WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


#: Set by ``cerviclip.data.image_cache`` while our own runs keep decoded images in memory.
decoded_cache: Any = None


def read_image(path: str) -> Image.Image:
    """Read an image as RGB.

    Ordinary 8-bit images come out as from ``Image.open(path).convert("RGB")``. Images of 16 bits
    are scaled from 0-65535 to 0-255, the same for every image; 32-bit and float images by their
    range.

    Raises:
        MissingFileError: there is no such file.
        UserError: the file is no image, or is cut short.
    """
    return decode_image(path) if decoded_cache is None else decoded_cache.image(path, decode_image)


def decode_image(path: str) -> Image.Image:
    """`read_image` past any cache."""
    if not os.path.exists(path):
        raise MissingFileError(
            f"image {path} does not exist; restore the file or take it out of the split"
        )
    try:
        with Image.open(path) as image:
            return _to_rgb(image)
    # Pillow's decoders raise these, SyntaxError and struct's and zlib's errors included.
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"image {path} cannot be read ({detail}); replace the file or take it out of the split"
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _WIDE_MODES:
        return Image.fromarray(_to_uint8(image)).convert("RGB")
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # the same colours, without Pillow's warning
    return image.convert("RGB")


def _to_uint8(image: Image.Image) -> np.ndarray:
    """Scale grey values of more than 8 bits to 0-255."""
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        highest = float(values.max(initial=0.0))
        full = 1.0 if highest <= 1.0 else 255.0 if highest <= 255.0 else max(highest, 65535.0)
    else:
        values = np.asarray(image.convert("I"), dtype=np.float64)
        # Pillow before 10 opened 16-bit PNGs in mode I: its values then span 16 bits as well.
        full = max(float(values.max(initial=0.0)), 65535.0)
    return np.clip(np.rint(values * (255.0 / full)), 0, 255).astype(np.uint8)


_checked: set[tuple[str, int, int]] = set()


def check_images(paths: Iterable[str]) -> None:
    """Find missing, empty and cut-off files before anything is trained on them.

    Looks at the first and last bytes only and at each file once per process, so that it costs some
    ten microseconds a file; damage in the middle is found when the image is read.

    Raises:
        MissingFileError: a file is not there.
        UserError: a file is empty, cut off, or no image.
    """
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            raise MissingFileError(
                f"image {path} does not exist; restore the file or take it out of the split"
            ) from None
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in _checked:
            problem = _problem(path, status.st_size)
            if problem:
                raise UserError(
                    f"image {path} {problem}; replace the file or take it out of the split"
                )
            _checked.add(key)


def _problem(path: str, size: int) -> str:
    """What is wrong with a file, in words; empty if nothing shows."""
    if size == 0:
        return "is empty"
    try:
        with open(path, "rb") as handle:
            head = handle.read(16)
            handle.seek(max(0, size - 4096))
            tail = handle.read()
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if head.startswith(_PNG_START):
        return "" if _PNG_END in tail else "is a truncated PNG (its end is missing)"
    if head.startswith(_JPEG_START):
        if _JPEG_END in tail:
            return ""
        # Some cameras append data after the picture's end: only the decoder can tell.
    elif head.startswith(b"BM"):
        told = int.from_bytes(head[2:6], "little")
        return f"is a truncated BMP ({size} of {told} bytes)" if size < told else ""
    elif head[:4] in (b"II*\0", b"MM\0*", b"GIF8", b"RIFF"):
        return ""
    try:
        with Image.open(path) as image, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        return f"cannot be read ({detail})"
    return ""
