"""Images of more than 8 bits: their values, and the range of values that becomes 0-255.

A file says how many bits it has room for, not how many its values use: 12-bit values in 16-bit
files would come out black. The range is therefore a property of a data set. Whoever knows the data
set declares it for the folder with `set_windows`; without it integers span 0-65535.
"""

from __future__ import annotations

import os
import warnings
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

from dassl.formats import PLUGINS

Range = tuple[float, float]

#: Pillow's modes with more than 8 bits: ``convert("RGB")`` would clip them at 255.
WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
FULL: Range = (0.0, 65535.0)
#: Ranges of floats that are seen by their values.
CONVENTIONAL: tuple[Range, ...] = ((0.0, 1.0), (0.0, 255.0))
TOLERANCE = 0.05  # resampling overshoots: a float image of 0-1 may hold 1.02
FAINT = 4  # floats that fill less than this part of a range are not taken for values of it
_SIGNED, _WHITE_IS_ZERO = 2, 0  # values of TIFF's tags 339 and 262
_GREY_WITH_ALPHA = "LA;16B"  # how a PNG of 16 bits stores it; Pillow opens it as RGBA


class Windows(NamedTuple):
    """What becomes 0-255, for images of integers and for those of floats; None: not declared."""

    integers: Range | None = None
    floats: Range | None = None


_UNKNOWN = Windows()
_by_folder: dict[str, Windows] = {}
_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)  # orientations that exchange width and height


class NotFiniteError(ValueError):
    """An image of floats holds NaN or infinite values."""


class MisreadError(ValueError):
    """A valid file whose pixels Pillow takes for something else."""


def set_windows(folder: str, windows: Windows) -> None:
    """Declare the ranges of all images below a folder; an inner folder's own come first."""
    name = os.path.abspath(folder)
    if windows == _UNKNOWN:
        _by_folder.pop(name, None)
    else:
        _by_folder[name] = windows


def windows_of(path: str) -> Windows:
    """The ranges that hold for an image."""
    if not _by_folder:
        return _UNKNOWN
    name = os.path.abspath(path)
    while (outer := os.path.dirname(name)) != name:
        name = outer
        if name in _by_folder:
            return _by_folder[name]
    return _UNKNOWN


def all_windows() -> dict[str, Windows]:
    """Every declared folder, for a process that is to read as this one does."""
    return dict(_by_folder)


def restore_windows(windows: dict[str, Windows]) -> None:
    """Take over what `all_windows` gave in another process."""
    _by_folder.update(windows)


def depth_of(image: Image.Image) -> str:
    """``float``, ``integer``, ``colour`` (16 bits a channel) or "" for 8 bits and less.

    Args:
        image: just opened; loading it forgets how its channels are stored.
    """
    if image.mode == "F":
        return "float"
    if image.mode in WIDE_MODES or _is_signed(image) or _is_grey_with_alpha(image):
        return "integer"
    return "colour" if _swapped_tiles(image) else ""


def values_of(image: Image.Image, path: str) -> np.ndarray:
    """The values of an image of more than 8 bits, (H, W) or (H, W, 3), as the file lies.

    Args:
        image: just opened from ``path``.
        path: 16-bit colour is read twice, since Pillow gives a channel's high byte only.

    Raises:
        NotFiniteError: a float image holds NaN or infinite values.
    """
    depth = depth_of(image)
    if _is_grey_with_alpha(image):
        return _grey_values(image, path)
    if depth == "colour":
        return _colour_values(image, path)
    if image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        wrong = int(np.count_nonzero(~np.isfinite(values)))
        if wrong:
            raise NotFiniteError(
                f"{wrong} of its {values.size} values are NaN or infinite; replace them"
            )
        return values
    if image.mode == "L":
        return np.asarray(image).view(np.int8).astype(np.int32)
    values = np.asarray(image.convert("I"))
    return values.view(np.uint32).astype(np.int64) if _is_unsigned(image) else values


def check_well_read(image: Image.Image) -> None:
    """Refuse TIFFs of 16 bits in separate planes: Pillow reads half of each plane as 8 bits.

    Args:
        image: just opened.

    Raises:
        MisreadError: it is such a file.
    """
    tags: Any = getattr(image, "tag_v2", {})
    tiles: Any = getattr(image, "tile", ()) or ()
    raw = [tile[3] if isinstance(tile[3], str) else (tile[3] or ("",))[0] for tile in tiles]
    if max(tags.get(258) or (8,)) > 8 and any(r in ("R", "G", "B", "A", "X") for r in raw):
        raise MisreadError(
            "it holds more than 8 bits in separate planes, which Pillow misreads; save it with "
            "interleaved channels"
        )


def to_eight_bits(image: Image.Image, path: str, declared: Windows | None = None) -> Image.Image:
    """An image of more than 8 bits as RGB.

    Args:
        image: just opened from ``path``.
        path: its file.
        declared: the ranges to read it by; None takes those that are declared for its folder.
    """
    depth, white_is_zero = depth_of(image), is_inverted(image)
    declared = windows_of(path) if declared is None else declared
    if depth == "colour" and declared.integers in (None, FULL):
        if declared.integers is None:
            _warn_if_dark(image.getextrema(), path)
        return image.convert("RGB")  # Pillow's: the high byte of each channel
    values = values_of(image, path)
    low, high = range_for(values, depth, declared, path)
    values = values.astype(np.float64)
    if white_is_zero:
        values = low + high - values
    return in_range(values, (low, high))


def in_range(values: np.ndarray, window: Range) -> Image.Image:
    """Values (H, W) or (H, W, 3) as RGB: those of ``window`` become 0-255, others are clipped."""
    low, high = window
    scale = 255.0 / max(high - low, np.finfo(float).tiny)
    scaled = np.rint((values.astype(np.float64) - low) * scale)
    return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)).convert("RGB")


def is_inverted(image: Image.Image) -> bool:
    """Whether a TIFF of more than 8 bits counts from white; Pillow turns those of 8 bits alone."""
    tags: Any = getattr(image, "tag_v2", {})
    return image.mode in WIDE_MODES and tags.get(262) == _WHITE_IS_ZERO


def usual_range(lowest: float, highest: float, floats: bool) -> Range | None:
    """The conventional range around values that go from ``lowest`` to ``highest``, if one fits.

    0-1 and 0-255 for floats, the full number of 8, 10, 12, 14 or 16 bits otherwise, also where they
    are counted from 32768. Floats may be anything (-1 to 1, optical densities), so above 1 they
    must fill a good part of a range.
    """
    if floats:
        for _, top in CONVENTIONAL:
            fits = lowest >= -TOLERANCE * top and highest <= (1 + TOLERANCE) * top
            if fits and (top == 1 or highest > top / FAINT):
                return (0.0, top)
    for bits in (8, 10, 12, 14, 16):
        for start in (0.0, 32768.0):
            fits = lowest >= start and highest <= start + 2**bits - 1 and start + 2**bits <= 65536
            if fits and not (floats and highest - start <= 2**bits / FAINT):
                return (start, start + 2**bits - 1)
    return None


def range_for(values: np.ndarray, depth: str, declared: Windows, path: str) -> Range:
    """The range that becomes 0-255: the declared one, else the conventional one of the depth.

    Args:
        values: of one image.
        depth: as `depth_of` says it.
        declared: for images of its kind.
        path: what the image is called in a warning.
    """
    given = declared.floats if depth == "float" else declared.integers
    if given is not None:
        return given
    lowest, highest = float(values.min()), float(values.max())
    if depth != "float" and lowest >= 0 and highest <= FULL[1]:
        _warn_if_dark([(lowest / 257, highest / 257)], path)
        return FULL
    usual = usual_range(lowest, highest, depth == "float")
    if usual is None:
        warnings.warn(
            f"{path} is scaled by its own range of values, {lowest:g} to {highest:g}; declare one "
            "for all images (INPUT.WINDOW, or dassl.utils.deep_images.set_windows)",
            stacklevel=2,
        )
    return usual or (lowest, highest)


def _warn_if_dark(extrema: Any, path: str) -> None:
    """Say that a picture comes out dark where nobody has declared its data set's range.

    Args:
        extrema: (lowest, highest) of each channel in 0-255.
        path: of the picture.
    """
    pairs = extrema if isinstance(extrema[0], tuple) else [extrema]
    highest = max(high for _, high in pairs)
    lowest = min(low for low, _ in pairs)
    if 0 < highest < 64 or 0 < highest - lowest < 32:
        looks = "dark" if highest < 64 else "flat"
        values = f"values up to {int(highest * 257)}"
        if looks == "flat":
            values = f"values {int(lowest * 257)} to {int(highest * 257)}"
        warnings.warn(
            f"{path} uses {values} of 65535 and comes out {looks}; if its whole data set does, "
            "declare the range (INPUT.BITS or INPUT.WINDOW, or "
            "dassl.utils.deep_images.set_windows)",
            stacklevel=2,
        )


def _is_signed(image: Image.Image) -> bool:
    """Whether a TIFF's bytes are signed, which Pillow reads as if they were not."""
    tags: Any = getattr(image, "tag_v2", {})
    return image.mode == "L" and tuple(tags.get(339) or ()) == (_SIGNED,)


def _is_unsigned(image: Image.Image) -> bool:
    """Whether a TIFF's 32-bit integers have no sign, which Pillow reads as if they had."""
    tags: Any = getattr(image, "tag_v2", {})
    return image.mode == "I" and tags.get(258) == (32,) and tags.get(339, (1,)) == (1,)


def _is_grey_with_alpha(image: Any) -> bool:
    """Whether a PNG holds 16 bits of grey and 16 of alpha."""
    return image.mode == "RGBA" and _GREY_WITH_ALPHA in [
        tile[3] for tile in getattr(image, "tile", ()) or ()
    ]


def _grey_values(image: Image.Image, path: str) -> np.ndarray:
    """The grey of such a PNG. Its four bytes a pixel are read as if they were red, green, blue and
    alpha, since Pillow has no other way to the low byte."""
    with open_image(path) as again:
        again.tile = [
            type(tile)(*tile[:3], "RGBA") if hasattr(tile, "_fields") else (*tile[:3], "RGBA")
            for tile in again.tile
        ]
        pairs = np.asarray(again).astype(np.int32)
    image.load()
    return pairs[..., 0] * 256 + pairs[..., 1]


def _swapped_tiles(image: Any) -> list[Any] | None:
    """An image's tiles such that Pillow reads the low byte of 16-bit channels; None for others."""
    if image.mode not in ("RGB", "RGBA"):
        return None
    other = {"L": "B", "B": "L", "N": "B" if np.little_endian else "L"}
    tiles = []
    for tile in getattr(image, "tile", ()):
        arguments = tile[3]
        raw = arguments if isinstance(arguments, str) else (arguments or ("",))[0]
        base, _, order = str(raw).partition(";16")
        if order not in other or base not in ("RGB", "RGBA", "RGBX"):
            return None
        swapped: Any = f"{base};16{other[order]}"
        if not isinstance(arguments, str):
            swapped = (swapped, *arguments[1:])
        tiles.append(
            type(tile)(*tile[:3], swapped) if hasattr(tile, "_fields") else (*tile[:3], swapped)
        )
    return tiles or None


def _colour_values(image: Image.Image, path: str) -> np.ndarray:
    with open_image(path) as again:
        again.tile = _swapped_tiles(again) or []
        low = np.asarray(again)[..., :3].astype(np.int32)
    return np.asarray(image)[..., :3].astype(np.int32) * 256 + low


def open_image(source: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    """``Image.open``, for whatever is to be decoded, of the formats in `dassl.formats` alone.

    Of a TIFF that its orientation lays on its side, Pillow (11 to 13) maps an uncompressed file of
    grey, palette, CMYK or RGBA into memory with the width and height of the upright picture: rows
    of a wrong length, and no error. Such a file is read instead of mapped.

    Args:
        source: a file's path, or an open file.
    """
    return not_mapped(Image.open(source, formats=PLUGINS))


def not_mapped(image: Image.Image) -> Image.Image:
    """An image that is open and not decoded yet, in the way of `open_image`."""
    if is_sideways(image):
        opened: Any = image
        opened.filename = ""  # Pillow maps files alone whose name it knows
    return image


def is_sideways(image: Image.Image) -> bool:
    """Whether a TIFF that is open and not decoded yet is stored with width and height exchanged."""
    tags: Any = getattr(image, "tag_v2", {})
    try:
        return image.format == "TIFF" and tags.get(_ORIENTATION) in _ON_ITS_SIDE
    except Exception:  # a damaged tag: Pillow raises anything, here as when it decodes the file
        return False
