"""Bytes of a stranger to pictures: what is no plain picture of a sane size is refused by name.

Nothing touches the disk. The order of the checks is that of their cost: size, kind by the first
bytes, what hides behind the picture's end, width x height by the header, pages; then pixels.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from cerviclip.app.parts.dicom import MOST_FRAMES, DicomError, dicom_frames, is_dicom
from cerviclip.app.pictures import UnreadableError, open_picture
from cerviclip.app.server.one_kind import end_of_page, end_of_png, is_more, is_more_than_tiff
from cerviclip.app.server.problems import Problem
from cerviclip.app.server.settings import Limits
from dassl.errors import UserError
from dassl.utils.deep_images import Windows
from dassl.utils.images import why_unreadable

TAKEN = "send PNG, JPEG, TIFF, BMP or DICOM"
_KINDS = {  # first bytes -> Pillow's plug-in, the only one that is let at the file
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
}
_REFUSED = {  # first bytes of what people send by mistake, or on purpose
    b"PK\x03\x04": "a ZIP archive",
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"RIFF": "a WebP or another RIFF file",
    b"\x1f\x8b": "a gzip archive",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
}
_TWO = "is a {} and another kind of file at once; save it anew"


@dataclass(frozen=True)
class Upload:
    """A picture that waits for its answer.

    Attributes:
        pixels: (H, W, 3), uint8, as training reads the file.
        sha256: of the file's bytes, in hex.
        name: the client's; answers carry it, logs never.
        frame: from 0, of a file with several; None of others.
        note: what of the file was not used; "" for all of it.
        file: its number in the request, from 1.
    """

    pixels: np.ndarray
    sha256: str
    name: str = ""
    frame: int | None = None
    note: str = ""
    file: int = 1


def read_uploads(
    files: Sequence[tuple[str, bytes]],
    limits: Limits,
    windows: Windows | None,
    frame: int | None = None,
) -> list[Upload]:
    """Pictures of all files of a request.

    Args:
        files: name and bytes of each.
        limits: ``pixels`` counts all files together.
        windows: as of `cerviclip.app.pictures.open_picture`.
        frame: of DICOM files, from 0, that is read alone; None for all.

    Raises:
        Problem: 4xx, which names the file by its number.
    """
    found: list[Upload] = []
    left = limits.pixels
    for number, (name, data) in enumerate(files, start=1):
        try:
            read = read_upload(name, data, limits, windows, left, frame)
        except Problem as error:
            raise Problem(error.status_code, f"file {number} {error.detail}", file=number) from None
        found += [replace(one, file=number) for one in read]
        left -= sum(one.pixels.size // 3 for one in read)
    return found


def read_upload(
    name: str,
    data: bytes,
    limits: Limits,
    windows: Windows | None,
    pixels: int | None = None,
    frame: int | None = None,
) -> list[Upload]:
    """Pictures of one file: one, or every frame of a DICOM file.

    Args:
        name: the client's.
        data: the file.
        limits: of files and frames.
        windows: the values that become 0-255 in pictures of more than 8 bits.
        pixels: most that the file may have; default that of the limits.

    Raises:
        Problem: 4xx; the words go behind "file 1".
    """
    pixels = limits.pixels if pixels is None else pixels
    if not data:
        raise Problem(400, "has 0 bytes")
    if len(data) > limits.file_bytes:
        raise Problem(413, f"has {len(data)} bytes, and {limits.file_bytes} are allowed")
    sha256 = hashlib.sha256(data).hexdigest()
    kind = _kind_of(data)
    if kind != "DICOM" and frame is not None:
        raise Problem(422, "is no DICOM file, so it has no frame to choose")
    _check_one_kind(data, kind)
    if kind == "DICOM":
        return _dicom_uploads(name, data, sha256, limits, pixels, frame)
    image, note = _open(data, kind, pixels, limits.frames)
    try:
        rgb = np.asarray(open_picture(image, windows))
    except UnreadableError as error:
        raise Problem(422, f"cannot be read: {error}") from None
    return [Upload(rgb, sha256, name, note=note)]


def array_upload(values: np.ndarray, number: int = 1) -> Upload:
    """A picture that came as numbers (H, W, 3), uint8; its hash is that of the values.

    Args:
        number: in the request, from 1.
    """
    values = np.ascontiguousarray(values)
    digest = hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()
    try:
        return Upload(np.asarray(open_picture(values, None)), digest, file=number)
    except UserError as error:
        raise Problem(422, f"picture {number} cannot be used: {error}") from None


def _kind_of(data: bytes) -> str:
    if is_dicom(data):
        return "DICOM"
    for start, kind in _KINDS.items():
        if data.startswith(start):
            return kind
    for start, words in _REFUSED.items():
        if data.startswith(start):
            raise Problem(415, f"is {words}; {TAKEN}")
    text = data[:256].lstrip().lower()
    if text.startswith((b"<svg", b"<?xml", b"<!doctype", b"<html")):
        raise Problem(415, f"is SVG, XML or HTML; {TAKEN}")
    raise Problem(415, f"is no picture that is known here; {TAKEN}")


def _check_one_kind(data: bytes, kind: str) -> None:
    """Refuse a file that is a picture and something else at once."""
    if kind == "PNG" and (tail := data[end_of_png(data) :]).strip(b"\0"):
        raise Problem(422, f"is a PNG with {len(tail)} bytes behind its end; save it anew")
    if is_more(data, kind):
        raise Problem(422, _TWO.format(kind))


def _open(data: bytes, kind: str, pixels: int, frames: int) -> tuple[Image.Image, str]:
    """The open image whose pixels are not decoded yet, and a note on what is left out."""
    try:
        image = Image.open(io.BytesIO(data), formats=(kind,))
        width, height = image.size
        if width * height > pixels:
            raise Problem(413, f"has {width}x{height} px, and {pixels} are allowed in a request")
        if kind == "PNG" and getattr(image, "is_animated", False):
            raise Problem(415, "is an animated PNG; send its frames one by one")
        return image, _note_on_pages(image, data, frames) if kind == "TIFF" else ""
    except Problem:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Problem(413, f"has more than the {pixels} px that are allowed") from None
    except Exception as error:  # Pillow's plug-ins raise anything
        raise Problem(422, f"cannot be read: {why_unreadable(error)}") from None


def _note_on_pages(image: Image.Image, data: bytes, frames: int) -> str:
    """A note where pages are left out, as training does; never a walk over endless pages. A TIFF
    with something else behind its last page is refused."""
    last, end = 0, end_of_page(image)
    try:
        while last < frames:
            image.seek(last + 1)
            last, end = last + 1, max(end, end_of_page(image))
    except EOFError:
        pass
    if is_more_than_tiff(data, end):
        raise Problem(422, _TWO.format("TIFF"))
    if last >= frames:
        raise Problem(413, f"has more than {frames} pages")
    image.seek(0)
    return f"page 1 of {last + 1} was read, as in training" if last else ""


def _dicom_uploads(
    name: str, data: bytes, sha256: str, limits: Limits, pixels: int, only: int | None
) -> list[Upload]:
    most = limits.frames if only is None else MOST_FRAMES
    try:
        frames = dicom_frames(data, pixels, most, only)
        whole = [np.asarray(open_picture(frame, None)) for frame in frames]
    except UserError as error:
        large = isinstance(error, DicomError) and error.too_large
        raise Problem(413 if large else 422, f"cannot be read: {error}") from None
    if len(whole) == 1:
        return [Upload(whole[0], sha256, name, only)]
    return [Upload(frame, sha256, name, number) for number, frame in enumerate(whole)]
