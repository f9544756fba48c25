"""Reading image files as upright 8-bit RGB, whatever they hold, and finding broken ones early."""

from __future__ import annotations

import os
import re
import stat
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from dassl.errors import MissingFileError, UserError
from dassl.formats import FORMATS
from dassl.utils.deep_images import (
    WIDE_MODES,
    Windows,
    check_well_read,
    depth_of,
    not_mapped,
    open_image,
    to_eight_bits,
)

_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
# A box around JPEG 2000's code stream, and the bare stream; both end in the mark of JPEG's end.
_JP2_STARTS = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# How files begin that are taken for pictures, and what they are.
_NO_PICTURES = {
    b"version https://git-lfs": "is a git-LFS pointer, not the picture (git lfs pull fetches it)",
    b"<!doctype html": "is a page of HTML, not a picture",
    b"<html": "is a page of HTML, not a picture",
    b"<svg": "is a drawing (SVG), which has no pixels",
}
_NO_FILE = "is no file, but a folder, a pipe or a device"
BACKGROUND = (0, 0, 0)  # what shows through transparent pixels, as padding does
MAX_PIXELS = "CERVICLIP_MAX_PIXELS"  # environment variable that raises Pillow's limit

if re.fullmatch(r"[0-9]{1,18}", os.environ.get(MAX_PIXELS, "")):
    Image.MAX_IMAGE_PIXELS = int(os.environ[MAX_PIXELS])


#: Set by ``cerviclip.data.images.cache`` while our own runs keep decoded images in memory, or read
#: them from a pack.
decoded_cache: Any = None


def read_image(path: str) -> Image.Image:
    """Read an image as RGB, upright.

    Ordinary 8-bit images come out as from ``Image.open(path).convert("RGB")``. An EXIF orientation
    is followed, transparent pixels are laid over black, and values of more than 8 bits are scaled
    by the range of their data set (`dassl.utils.deep_images`), 0-65535 where none is declared.

    Raises:
        MissingFileError: there is no such file.
        UserError: the file is no image, is cut short, too large, or holds NaN.
    """
    return decode_image(path) if decoded_cache is None else decoded_cache.image(path, decode_image)


def decode_image(path: str) -> Image.Image:
    """`read_image` past any cache."""
    if not os.path.exists(path):
        raise MissingFileError(
            f"image {path} does not exist; restore the file or take it out of the split"
        )
    with opened(path) as image:
        return to_rgb(image, path)


@contextmanager
def opened(path: str | os.PathLike[str], what: str = "image") -> Iterator[Image.Image]:
    """An image file, open for reading.

    Args:
        path: the file.
        what: it is, for the message.

    Raises:
        UserError: whatever Pillow raises of it, also while its pixels are read in the block. Its
            decoders raise anything, SyntaxError and struct's and zlib's errors included.
    """
    try:
        with open_image(path) as image:
            yield image
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{what} {path} cannot be read ({why_unreadable(error, path)}); replace the file or "
            "take it out of the split"
        ) from error


class BegunImage:
    """An image file on its way through transforms, decoded at most once and only if need be.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._whole: Image.Image | None = None

    @property
    def whole(self) -> Image.Image:
        """The image as `read_image` gives it."""
        if self._whole is None:
            self._whole = read_image(self.path)
        return self._whole

    def behind(self, transform: Any) -> tuple[Any, Image.Image]:
        """A transform and the image to give to it; where the image behind the transform's first,
        deterministic steps is kept somewhere, that one, and a transform of the other steps."""
        kept = None if decoded_cache is None else decoded_cache.begun(self.path, transform)
        return (transform, self.whole) if kept is None else kept


def for_workers() -> Any:
    """What a process that starts afresh needs in order to find kept images, None for nothing."""
    return None if decoded_cache is None else decoded_cache.for_workers()


def from_parent(kept: Any) -> None:
    """Take over what `for_workers` gave in the parent, unless this process keeps its own."""
    global decoded_cache
    if decoded_cache is None:
        decoded_cache = kept


def to_rgb(
    image: Image.Image, path: str = "in memory", windows: Windows | None = None
) -> Image.Image:
    """An open image as `read_image` gives it: 8-bit RGB, upright, over one colour.

    Args:
        image: of any mode.
        path: its file, whose folder may have a declared range of values.
        windows: ranges of values to read it by, whatever its folder has.
    """
    check_well_read(not_mapped(image))
    picture = to_eight_bits(image, path, windows) if depth_of(image) else None
    picture = _over_background(image, picture) or picture or image.convert("RGB")
    return turn(picture, orientation_of(image))


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation that is still to be followed, 1 for none.

    Args:
        image: loaded already; Pillow turns TIFFs as it loads them.
    """
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return 1  # damaged EXIF data say nothing
    return value if value in _TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """An image of any mode turned as its EXIF orientation says."""
    image.load()
    return turn(image, orientation_of(image))


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """An image turned as an EXIF orientation says."""
    how = _TURNS.get(orientation)
    return image if how is None else image.transpose(how)


def has_alpha(image: Image.Image) -> bool:
    """Whether pixels may be transparent, by a channel or by a colour that stands for it."""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def shows_background(image: Image.Image) -> bool:
    """Whether some pixels are transparent. Where all of them are, alpha says nothing."""
    if not has_alpha(image):
        return False
    extrema: Any = _alpha_of(image).getextrema()
    least, most = extrema
    return least < 255 and most > 0


def _alpha_of(image: Image.Image) -> Image.Image:
    """How opaque each pixel of a picture that has alpha is, 0-255."""
    if image.mode not in WIDE_MODES:
        return image.convert("RGBA").getchannel("A")
    values = np.asarray(image)  # one grey stands for what is transparent
    return Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))


def why_unreadable(error: Exception, path: str | os.PathLike[str] = "") -> str:
    """An error of Pillow's in one line, with the way out where there is one.

    Args:
        error: as it was raised.
        path: the file, which is asked whether it begins as a PNG, JPEG or TIFF.
    """
    if isinstance(error, UnidentifiedImageError) and path:
        with suppress(OSError), open(path, "rb") as file:
            start = file.read(8)
            if start.startswith((_PNG_START, b"\xff\xd8\xff")):
                kind = "PNG" if start == _PNG_START else "JPEG"
                return f"it begins as a {kind}, and what follows is damaged; copy or export it anew"
            if start[:4] in _TIFF_STARTS:
                return (
                    "it is a TIFF that Pillow cannot read, such as one of colours or 64 bits in "
                    "floats; save it with 8 or 16 bits"
                )
        return f"it is no image of a format that is read: {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        said = os.environ.get(MAX_PIXELS, "")
        wrong = f" (it is {said!r}, no whole number)" if said and not said.isdecimal() else ""
        return (
            f"it has more than {limit / 1e6:.0f} million pixels, the limit against files made to "
            f"fill the memory; if it is meant, set {MAX_PIXELS} to its number of pixels{wrong}"
        )
    return " ".join(str(error).split()) or type(error).__name__


def _over_background(image: Image.Image, colours: Image.Image | None) -> Image.Image | None:
    """A transparent image over one colour; None of an opaque one.

    Args:
        image: as it was opened.
        colours: the same as 8-bit RGB, where it has more than 8 bits.
    """
    if not shows_background(image):
        return None
    picture = Image.new("RGB", image.size, BACKGROUND)
    picture.paste(colours or image.convert("RGBA"), mask=_alpha_of(image))
    return picture


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
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"image {path} {_NO_FILE}; take it out of the split")
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
            head = handle.read(34)
            handle.seek(max(0, size - 4096))
            tail = handle.read()
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    words = head.lstrip().lower()
    for start, what in _NO_PICTURES.items():
        if words.startswith(start):
            return what
    if head.startswith(_PNG_START):
        return "" if _PNG_END in tail else "is a truncated PNG (its end is missing)"
    if head.startswith(_JPEG_START):
        if _JPEG_END in tail:
            return ""
        # Some cameras append data after the picture's end: only the decoder can tell.
    elif head.startswith(_JP2_STARTS):
        if not features.check("jpg_2000"):
            return "is JPEG 2000, which this Pillow was built without (its wheels on PyPI have it)"
        if _JPEG_END in tail:
            return ""
    elif head.startswith(b"BM"):
        needed = _bmp_bytes(head)
        if needed is not None:
            return f"is a truncated BMP ({size} of {needed} bytes)" if size < needed else ""
    elif head[:4] in (b"II*\0", b"MM\0*", b"GIF8", b"RIFF"):
        return ""
    try:
        with open_image(path) as image, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
    except Exception as error:
        return f"cannot be read ({why_unreadable(error)})"
    return ""


def _bmp_bytes(head: bytes) -> int | None:
    """The bytes that a BMP's pixels need; None where only a decoder can tell.

    Not the size that the header states, which some software fills in wrongly.
    """
    if len(head) < 34:
        return None
    start, header = struct.unpack_from("<II", head, 10)
    if header == 12:  # OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", head, 18)
        packing = 0
    else:
        width, height, _, bits, packing = struct.unpack_from("<iiHHI", head, 18)
    if packing not in (0, 3, 6) or bits == 0:  # plain, or plain with bit masks
        return None
    return start + (abs(width) * bits + 31) // 32 * 4 * abs(height)
