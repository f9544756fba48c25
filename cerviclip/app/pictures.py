"""Whatever a caller calls a picture, as 8-bit RGB read as the run's training read its images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cerviclip.app.parts.names import DICOM_SUFFIXES, is_slide_name, split
from cerviclip.data.files.folders import image_files
from cerviclip.data.images.facts import MAX_ASPECT
from dassl.errors import MissingFileError, UserError
from dassl.utils.deep_images import (
    CONVENTIONAL,
    FULL,
    TOLERANCE,
    Windows,
    depth_of,
    in_range,
    open_image,
    range_for,
    values_of,
)
from dassl.utils.files import file_sha256
from dassl.utils.images import to_rgb, why_unreadable

#: A file's name may name a part of it: ``slide.svs#x,y,width,height``, ``scan.dcm#frame``.
Picture = str | os.PathLike[str] | Image.Image | np.ndarray

_SAME_PICTURE = ("MPO", "ICNS", "ICO")  # what else these hold is the same picture in other sizes

_CUT_OFF = 0.01  # share of a picture's values beyond the run's range that is told
_FILLED = 12  # a picture that fills less than this part of the run's range is told

TAKEN = (
    "arrays are (H, W) or (H, W, 3): uint8 in 0-255, uint16 in 0-65535, float in 0-1, or the last "
    "two in the range that the run's training images had"
)


class UnreadableError(UserError):
    """A file, or an image in memory, that cannot be read; the message does not name it."""


def picture_sha256(picture: Picture | bytes | None) -> str:
    """sha256 in hex of a file's bytes; "" for a picture that is no whole file, or cannot be read.

    Args:
        picture: a file, its bytes, an image, or None for one that is not at hand.
    """
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).hexdigest()
    if isinstance(picture, (str, os.PathLike)) and Path(picture).is_file():
        with suppress(OSError):  # a file that may not be read has an answer with an error
            return file_sha256(Path(picture))
    return ""


def listed(source: Iterable[Picture] | Picture) -> Iterator[Picture]:
    """Single pictures: those of a list one by one, those of a folder by their sorted names.

    Folders are searched to any depth. Of a folder the files' names are in memory, never pictures.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            yield from (path / inner for inner in image_files(path))
        else:
            yield source
    elif isinstance(source, (Image.Image, np.ndarray)):
        yield source
    else:
        for one in _iterable(source):
            yield from listed(one) if isinstance(one, (str, os.PathLike)) else (one,)


def check_named(source: Any) -> None:
    """Refuse one path that leads nowhere: its answer would be a class of empty text. Lists and
    folders go on past such files, whose answers have an ``error``.

    Raises:
        MissingFileError: it is one path, and neither a file nor a folder.
    """
    if isinstance(source, (str, os.PathLike)):
        file = split(os.fspath(source))[0]
        if not os.path.exists(file):
            raise MissingFileError(
                f"there is no file or folder {file} (searched from {os.getcwd()}); check the path"
            )


def is_one(source: Any) -> bool:
    """Whether it is one picture and not a list or a folder of them."""
    if isinstance(source, (str, os.PathLike)):
        return not Path(source).is_dir()
    return isinstance(source, (Image.Image, np.ndarray))


def path_of(picture: Picture) -> str:
    """The file of a picture with forward slashes; empty for one in memory."""
    return Path(picture).as_posix() if isinstance(picture, (str, os.PathLike)) else ""


def open_picture(picture: Picture, windows: Windows | None) -> Image.Image:
    """A picture as 8-bit RGB, upright; as `open_with_note`, without the note."""
    return open_with_note(picture, windows)[0]


def open_with_note(picture: Picture, windows: Windows | None) -> tuple[Image.Image, str]:
    """A picture as 8-bit RGB, upright, and what of the file it is.

    Args:
        picture: a file, an image in memory or an array.
        windows: the values that become 0-255 in pictures of more than 8 bits; None: not known.

    Returns:
        The picture, and what to know of it: ``page 1 of 3`` or ``frame 1 of 3`` for a file of
        several, values outside the run's range; else "".

    Raises:
        UnreadableError: what the file or the image holds cannot be used.
        UserError: an array that is not taken, or no picture at all.
    """
    if isinstance(picture, np.ndarray):
        return _thin_refused(array_to_rgb(picture, windows)), ""
    if isinstance(picture, Image.Image):
        return _noted(picture, "in memory", windows)
    if not isinstance(picture, (str, os.PathLike)):
        raise UserError(
            f"a {type(picture).__name__} is no picture; give a file, a PIL image or a numpy array"
        )
    path = os.fspath(picture)
    file, part = split(path)
    if not os.path.exists(file):
        raise UnreadableError("there is no such file")
    if not os.path.isfile(file):
        raise UnreadableError("it is no file, but a folder, a pipe or a device")
    if part or file.lower().endswith(DICOM_SUFFIXES):
        return _thin_refused(_part(file, part)), ""
    if is_slide_name(file):
        raise UnreadableError("it is a whole slide; name a tile of it: FILE#x,y,width,height")
    try:
        with open_image(path) as image:
            return _noted(image, path, windows)
    except UnreadableError:
        raise
    except Exception as error:  # Pillow's plug-ins raise anything
        raise UnreadableError(why_unreadable(error, path)) from error


def _part(file: str, part: str) -> Image.Image:
    from cerviclip.app.parts.reading import read_part

    try:
        return read_part(file, part)
    except (UserError, OSError) as error:
        raise UnreadableError(str(error)) from error


def array_to_rgb(values: np.ndarray, windows: Windows | None) -> Image.Image:
    """An array as a file with the same values would be read.

    Args:
        values: (H, W) grey or (H, W, 3) RGB; uint8 in 0-255, uint16 in the run's range or 0-65535,
            float in the run's range or 0-1.
        windows: the run's ranges; None: not known.

    Raises:
        UserError: another shape, dtype or range, by its name.
    """
    _check_shape(values)
    if values.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(values)).convert("RGB")
    declared = windows or Windows()
    if values.dtype == np.uint16:
        window = range_for(values, "integer", declared, "an array")
        if values.ndim == 3 and window == FULL:  # as Pillow reads files: each channel's high byte
            return Image.fromarray((values >> 8).astype(np.uint8))
        return in_range(values, window)
    if not np.issubdtype(values.dtype, np.floating):
        raise UserError(f"an array of {values.dtype} is not taken; {TAKEN}")
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        raise UserError(f"an array holds {wrong} values that are NaN or infinite; replace them")
    window = declared.floats or (0.0, 1.0)
    lowest, highest = float(values.min()), float(values.max())
    beyond = max(-lowest, highest - window[1]) > TOLERANCE * window[1]
    if window in CONVENTIONAL and beyond:  # another range was chosen, and may cut values off
        raise UserError(
            f"an array of {values.dtype} has values from {lowest:g} to {highest:g}, and this run "
            f"reads {window[0]:g} to {window[1]:g}; {TAKEN}"
        )
    return in_range(values, window)


def _check_shape(values: np.ndarray) -> None:
    if values.size and (values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)):
        return
    hint = ""
    if values.ndim == 3 and values.shape[0] in (1, 3):
        hint = " (channels come last: np.moveaxis(array, 0, -1))"
    elif values.ndim == 3 and values.shape[2] == 4:
        hint = " (leave out alpha: array[..., :3])"
    elif values.ndim == 4:
        hint = " (give a batch as a list of its images)"
    raise UserError(f"an array of shape {values.shape} is not taken{hint}; {TAKEN}")


def _noted(image: Image.Image, path: str, windows: Windows | None) -> tuple[Image.Image, str]:
    try:
        note = _page_of(image)  # before the pixels are read: counting goes through the file
    except Exception as error:  # Pillow's plug-ins raise anything
        raise UnreadableError(why_unreadable(error)) from error
    deep = depth_of(image)
    picture = _image_to_rgb(image, path, windows)
    told = _range_note(path, deep, windows or Windows()) if deep and os.path.exists(path) else ""
    return picture, "; ".join(filter(None, (note, told)))


def _range_note(path: str, depth: str, windows: Windows) -> str:
    """What to say of a deep picture whose values are not those of the run's range; else ""."""
    window = windows.floats if depth == "float" else windows.integers
    if window is None:
        return ""
    low, high = window
    try:
        with open_image(path) as again:
            values = values_of(again, path)
    except Exception as error:  # Pillow's plug-ins raise anything
        raise UnreadableError(why_unreadable(error)) from error
    beyond = TOLERANCE * (high - low)
    outside = float(np.mean((values < low - beyond) | (values > high + beyond)))
    if outside > _CUT_OFF:
        return (
            f"{100 * outside:.0f} % of its values lie outside {low:g} to {high:g}, the range of "
            "the run's images, and are cut off"
        )
    least, most = float(values.min()), float(values.max())
    if (most - least) * _FILLED < high - low:
        return f"its values, {least:g} to {most:g}, fill little of the run's {low:g} to {high:g}"
    return ""


def _page_of(image: Image.Image) -> str:
    """Which page or frame of its file an image is; "" where it is the only picture of it."""
    if image.format in _SAME_PICTURE:
        return ""
    here, count = image.tell(), "several"
    try:
        if not getattr(image, "is_animated", False):
            return ""
        count = str(getattr(image, "n_frames", count))
    except Exception:  # a later page is damaged, which is no fault of this one
        image.seek(here)
    return f"{'page' if image.format == 'TIFF' else 'frame'} {here + 1} of {count}"


def _image_to_rgb(image: Image.Image, path: str, windows: Windows | None) -> Image.Image:
    if depth_of(image) and windows is None:
        raise UnreadableError(
            "it has more than 8 bits, and the run (older than reading.json) does not say which "
            "values its training images had; train it again, or convert the image to 8 bits"
        )
    _thin_refused(image)
    try:
        return to_rgb(image, path, windows or Windows())
    except Exception as error:
        raise UnreadableError(why_unreadable(error)) from error


def _thin_refused(image: Image.Image) -> Image.Image:
    """Refuse a picture whose resize would fill the memory, as training does."""
    width, height = image.size
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UnreadableError(
            f"it is {width}x{height} px, longer than {MAX_ASPECT} times its width; crop it"
        )
    return image


def _iterable(source: Any) -> Iterable[Any]:
    try:
        return iter(source)
    except TypeError:
        raise UserError(
            f"a {type(source).__name__} is no picture; give a file, a folder, a PIL image, a numpy "
            "array or a list of them"
        ) from None
