"""One look at an image file: what it says of itself, and whether its pixels can be read.

A probe reads the file once. Its values are small, so that those of a hundred thousand files fit
into memory and travel between processes.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from cerviclip.data.checks.lost_rows import lost_rows
from cerviclip.data.images.profiles import profile_of
from cerviclip.data.workers import mapper
from cerviclip.places import install_hint
from dassl.errors import UserError
from dassl.utils.deep_images import (
    NotFiniteError,
    check_well_read,
    depth_of,
    open_image,
    values_of,
)
from dassl.utils.images import (
    orientation_of,
    shows_background,
    to_rgb,
    turn,
    why_unreadable,
)

THUMB = 32  # px, edge of the grey thumbnail that pictures are compared by
_CHUNK = 16  # files that a process is given at a time
_MISSING = f"near copies are found with imagehash: {install_hint('check')}, or give --no-alike"
_LIGHT = Image.Resampling.BOX


@dataclass(frozen=True)
class Probe:
    """What one file holds.

    Attributes:
        path: relative to the data set's folder.
        file_bytes: its size.
        file_hash: of its bytes.
        error: kind of fault that keeps it from being read; "" for none.
        why: the error in words.
        format: Pillow's name of the format.
        mode: Pillow's mode as stored.
        bits: per channel.
        size: (width, height) upright, px.
        frames: pages or frames.
        orientation: EXIF's, 1 for none.
        transparent: some pixels show the background.
        profile: colour profile, "" for none and for sRGB.
        pixel_hash: of the decoded upright pixels and their size.
        contrast: standard deviation of the grey values, 0-255 over the image's range of values.
        white, black: shares of the pixels at the highest and lowest value that the bits allow.
        levels: different grey values, counted where they have a thousandth of the pixels.
        lost_rows: lowest rows that are the grey of a JPEG's data that were not there.
        lacks_data: the file itself lacks these data; else it was perhaps saved anew without them.
        thumb: THUMB x THUMB grey bytes, upright.
        hashes: perceptual hashes of the picture and of its seven turns and mirrorings, 64 bits
            each; empty without imagehash.
    """

    path: str
    file_bytes: int = 0
    file_hash: str = ""
    error: str = ""
    why: str = ""
    format: str = ""
    mode: str = ""
    bits: int = 8
    size: tuple[int, int] = (0, 0)
    frames: int = 1
    orientation: int = 1
    transparent: bool = False
    profile: str = ""
    pixel_hash: str = ""
    contrast: float = 0.0
    white: float = 0.0
    black: float = 0.0
    levels: int = 256
    lost_rows: int = 0
    lacks_data: bool = False
    thumb: bytes = b""
    hashes: tuple[int, ...] = ()


def probe(folder: str, path: str, alike: bool = True) -> Probe:
    """Look at one file.

    Args:
        folder: of the data set.
        path: relative to it.
        alike: compute perceptual hashes (imagehash).
    """
    try:
        with open(os.path.join(folder, path), "rb") as file:
            content = file.read()
    except OSError as error:
        return Probe(path, error="unreadable", why=error.strerror or str(error))
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    start = Probe(path, len(content), digest)
    if not content:
        return _failed(start, "empty_file", "is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them is among the values
            return _decoded(start, content, os.path.join(folder, path), alike)
    except NotFiniteError as error:
        return _failed(start, "not_finite", str(error))
    except Exception as error:  # whatever Pillow's plug-ins raise
        if isinstance(error, UnidentifiedImageError):
            return _failed(start, "unreadable", "it is no image of a format that is read")
        why = why_unreadable(error)
        short = any(word in why.lower() for word in ("truncat", "unexpected end", "broken png"))
        short |= content.startswith(b"\xff\xd8") and b"\xff\xd9" not in content[-4096:]
        return _failed(start, "truncated" if short else "unreadable", why)


def probe_all(
    folder: str, paths: Sequence[str], jobs: int, alike: bool, advance: Callable[[Probe], object]
) -> list[Probe]:
    """Look at every file, in the order of ``paths``.

    Args:
        folder: of the data set.
        paths: relative to it.
        jobs: processes.
        alike: compute perceptual hashes.
        advance: given each probe when it is done.

    Raises:
        UserError: imagehash is not there.
    """
    if alike:
        _imagehash()
    chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
    found: list[Probe] = []
    with mapper(jobs) as mapped:
        for some in mapped(_probe_some, chunks, [folder] * len(chunks), [alike] * len(chunks)):
            for one in some:
                found.append(one)
                advance(one)
    return found


def _probe_some(paths: Sequence[str], folder: str, alike: bool) -> list[Probe]:
    return [probe(folder, path, alike) for path in paths]


def _failed(start: Probe, kind: str, why: str) -> Probe:
    return Probe(start.path, start.file_bytes, start.file_hash, error=kind, why=why)


def _decoded(start: Probe, content: bytes, path: str, alike: bool) -> Probe:
    with open_image(io.BytesIO(content)) as image:
        many = image.format not in ("MPO", "ICNS", "ICO") and getattr(image, "is_animated", False)
        frames = getattr(image, "n_frames", 1) if many else 1
        file_format, mode, depth = image.format or "", image.mode, depth_of(image)
        bits, low, high, profile, lost, lacks = 8, 0.0, 255.0, profile_of(image), 0, False
        check_well_read(image)
        if depth:
            values = values_of(image, path)
            grey, low, high = _grey_of(values)
            grey = turn(grey, orientation_of(image))
            bits = 16 if values.dtype.kind != "f" and np.abs(values).max() < 65536 else 32
            raw: bytes | memoryview = np.ascontiguousarray(values).data
        else:
            image.load()
            bits = 1 if mode == "1" else 8
            lost, lacks = lost_rows(image, content if file_format in ("JPEG", "MPO") else b"")
            picture = to_rgb(image, path)
            grey, raw = picture.convert("L"), picture.tobytes()
        clear = shows_background(image)
        orientation = orientation_of(image)
    contrast, white, black, levels = _spread(grey, low, high)
    thumb = grey.resize((THUMB, THUMB), _LIGHT)
    size_text = f"{grey.size} {bits if depth else 8} {orientation if depth else 1} ".encode()
    return Probe(
        path=start.path,
        file_bytes=start.file_bytes,
        file_hash=start.file_hash,
        format=file_format,
        mode=mode,
        bits=bits,
        size=grey.size,
        frames=frames,
        orientation=orientation,
        transparent=clear,
        profile=profile,
        pixel_hash=_digest(size_text, raw),
        contrast=contrast,
        white=white,
        black=black,
        levels=levels,
        lost_rows=lost,
        lacks_data=lacks,
        thumb=thumb.tobytes(),
        hashes=_hashes(thumb) if alike else (),
    )


def _grey_of(values: np.ndarray) -> tuple[Image.Image, float, float]:
    """A deep image as 8-bit grey over its own range, and the grey of the ends of the usual range.

    The ends are -1 and 256 where the image does not reach 0 or the highest value of its bits.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values.mean(axis=-1) if values.ndim == 3 else values
    least, most = float(values.min()), float(values.max())
    scaled = (values - least) / (most - least or 1.0) * 255
    low = 0.0 if least <= 0 else -1.0
    full = any(most == top for top in (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0))
    return Image.fromarray(np.rint(scaled).astype(np.uint8)), low, 255.0 if full else 256.0


def _spread(grey: Image.Image, low: float, high: float) -> tuple[float, float, float, int]:
    """Standard deviation, shares at the highest and lowest value, number of frequent values."""
    counts = np.array(grey.histogram(), dtype=np.float64)
    share = counts / counts.sum()
    values = np.arange(256)
    mean = float((share * values).sum())
    deviation = float(np.sqrt((share * (values - mean) ** 2).sum()))
    white = float(share[255]) if high == 255 else 0.0
    black = float(share[0]) if low == 0 else 0.0
    frequent = share > 1e-3
    levels = int(frequent.sum()) if share[frequent].sum() > 0.995 else 256
    return deviation, white, black, levels


def _digest(*parts: bytes | memoryview) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _hashes(thumb: Image.Image) -> tuple[int, ...]:
    """Perceptual hashes of the eight turns and mirrorings, the picture's own first."""
    imagehash = _imagehash()
    ways = [None, *Image.Transpose]
    turns = [thumb if way is None else thumb.transpose(way) for way in ways]
    bits = (np.packbits(imagehash.phash(turned).hash) for turned in turns)
    return tuple(int.from_bytes(packed.tobytes(), "big") for packed in bits)


def _imagehash():  # type: ignore[no-untyped-def]
    try:
        import imagehash
    except ImportError as error:
        raise UserError(_MISSING) from error
    return imagehash
