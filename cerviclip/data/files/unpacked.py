"""Pictures out of arrays: each becomes a PNG of its own in the cache, once.

All that reads images here reads files: decoding, keys of stored features, ``split.json``, figures.
So an array file is unpacked rather than taught to each of them. The folder is named by a
fingerprint of the source: another release never meets the pictures of this one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cerviclip.counted import counted
from cerviclip.environment import cache_folder
from dassl.errors import UserError

UNPACKED = "unpacked"  # the folder in the cache
_SLOW = 2000  # pictures: some seconds, so it is said
_ENDS = 2**20  # bytes at both ends of a source that its fingerprint is made of


class UnpackedPictures:
    """Mixin before ``ImagingDataset``: paths in its record begin below the unpacked folder.

    Where the cache lies, and even that it may lie below DATASET.ROOT, is another thing on each
    machine and no part of a split.
    """

    image_dir: Path

    def _root_of(self, cfg: Any) -> str:
        return str(self.image_dir)


def unpacked_folder(source: Path) -> Path:
    """Where the pictures of an array file are kept: below ``$CERVICLIP_CACHE/unpacked``."""
    name = source.name.partition(".")[0]
    return cache_folder().absolute() / UNPACKED / f"{name}-{fingerprint(source)[:12]}"


def fingerprint(source: Path) -> str:
    """sha256 of a file's size and of its first and last MiB: it may have gigabytes."""
    size = source.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(source, "rb") as file:
        digest.update(file.read(_ENDS))
        file.seek(max(0, size - _ENDS))
        digest.update(file.read(_ENDS))
    return digest.hexdigest()


def write_pictures(
    folder: Path, paths: Iterable[str], pixels_of: Callable[[str], np.ndarray]
) -> int:
    """Write those pictures that are not there yet.

    Several processes may do so at once: a picture appears under its name when it is whole.

    Args:
        folder: made if absent.
        paths: of PNG files, relative to ``folder``.
        pixels_of: gives (H, W) of 8 or 16 bits, or (H, W, 3) of 8, for a path; asked for absent
            ones only.

    Returns:
        How many were written.

    Raises:
        UserError: the cache cannot be written.
    """
    try:
        absent = [path for path in paths if not _is_there(folder / path)]
        if len(absent) >= _SLOW:
            print(f"Unpacking {counted(len(absent), 'picture')} to {folder}", flush=True)
        for path in absent:
            _write(folder / path, pixels_of(path))
    except OSError as error:
        raise UserError(
            f"cannot unpack pictures to {folder} ({error.strerror or error}); make room there, or "
            "name another folder in CERVICLIP_CACHE"
        ) from error
    return len(absent)


def _is_there(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False  # any other error is told by whoever asked


def _write(file: Path, pixels: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, "png", compress_level=1)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
