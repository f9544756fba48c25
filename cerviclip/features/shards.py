"""The file format of stored features: immutable shards that are renamed into place whole.

Layout of a shard: magic, length of the header (uint32), JSON header, keys (count x 36 bytes:
SHA-256 of the image's bytes, then the view's number), padding to 64 bytes, rows of 16-bit numbers.
A shard never changes after its rename, so readers need no lock and a writer killed at any point
leaves at most a ``.tmp-`` file that nobody reads.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cerviclip.shapes import plain_json

MAGIC = b"CCLIPFS1"
KEY_BYTES = 36
DTYPES = ("float16", "uint16")  # of rows; uint16 holds the bits of bfloat16
SUFFIX = ".shard"
_LENGTH = struct.Struct("<I")


class DamagedShardError(ValueError):
    """A shard that is cut short or whose bytes do not match their checksum."""


def make_key(image_sha256: str, view: int) -> bytes:
    """36 bytes that name one view of one image within a space."""
    return bytes.fromhex(image_sha256) + _LENGTH.pack(view)


@dataclass
class Shard:
    """An open shard: its keys in row order and its memory-mapped rows."""

    path: Path
    keys: list[bytes]
    rows: np.ndarray  # (count, *shape), float16 or uint16 (the bits of bfloat16)
    rows_crc: int
    checked: bool = False  # the rows were compared with their checksum

    def check(self) -> None:
        """Read every row and compare the checksum, once.

        Raises:
            DamagedShardError: they differ.
        """
        if not self.checked and _crc(self.rows) != self.rows_crc:
            raise DamagedShardError(f"{self.path}: its rows do not match their checksum")
        self.checked = True

    def release(self) -> None:
        """Give back the memory of rows that were read; they are read again when asked for."""
        mapped = getattr(self.rows, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def write_shard(folder: Path, keys: Sequence[bytes], rows: np.ndarray) -> Path:
    """Write one shard beside the others; it appears under its name only when complete.

    Args:
        folder: the space's folder, which must exist.
        keys: one per row, from `make_key`.
        rows: (count, ...) of a 16-bit dtype.

    Returns:
        The new file's path.
    """
    if len(keys) != len(rows):
        raise ValueError(f"{len(keys)} keys for {len(rows)} rows")
    rows = np.ascontiguousarray(rows)
    packed = b"".join(keys)
    header = json.dumps(
        {
            "count": len(rows),
            "shape": list(rows.shape[1:]),
            "dtype": rows.dtype.name,
            "keys_crc": zlib.crc32(packed),
            "rows_crc": _crc(rows),
        }
    ).encode()
    name = f"{os.getpid():x}-{uuid.uuid4().hex[:16]}"
    temporary = folder / f".tmp-{name}"
    try:
        with open(temporary, "wb") as file:
            file.write(MAGIC + _LENGTH.pack(len(header)) + header + packed)
            file.write(b"\0" * (-file.tell() % 64))
            file.write(rows.data if rows.size else b"")
            file.flush()
            os.fsync(file.fileno())
        path = folder / f"{name}{SUFFIX}"
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def open_shard(path: Path, *, verify: bool = False) -> Shard:
    """Map a shard into memory.

    Args:
        path: the file.
        verify: read every row and compare the checksum; without it only header, keys and length
            are.

    Returns:
        Keys and rows.

    Raises:
        DamagedShardError: the file is not a whole shard.
        FileNotFoundError: another process dropped it.
    """
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        start = file.read(len(MAGIC) + _LENGTH.size)
        if len(start) < len(MAGIC) + _LENGTH.size or not start.startswith(MAGIC):
            raise DamagedShardError(f"{path}: not a shard of features")
        try:
            header = plain_json(file.read(_LENGTH.unpack(start[len(MAGIC) :])[0]))
            count, dtype = int(header["count"]), np.dtype(header["dtype"])
            shape = tuple(int(n) for n in (count, *header["shape"]))
            keys_crc, rows_crc = int(header["keys_crc"]), int(header["rows_crc"])
            if min(shape) < 0 or dtype.name not in DTYPES:
                raise ValueError(f"{count} rows of {shape[1:]} {dtype}")
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise DamagedShardError(f"{path}: unreadable header ({error})") from None
        packed = file.read(count * KEY_BYTES)
        offset = file.tell() + (-file.tell() % 64)
    if size != offset + int(np.prod(shape)) * dtype.itemsize:
        raise DamagedShardError(f"{path}: cut short")
    if zlib.crc32(packed) != keys_crc:
        raise DamagedShardError(f"{path}: its keys do not match their checksum")
    if count and int(np.prod(shape)):
        rows: np.ndarray = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
    else:
        rows = np.zeros(shape, dtype)
    keys = [packed[i : i + KEY_BYTES] for i in range(0, len(packed), KEY_BYTES)]
    shard = Shard(Path(path), keys, rows, rows_crc)
    if verify:
        shard.check()
    return shard


def _crc(rows: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(rows).data) if rows.size else 0
