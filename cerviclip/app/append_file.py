"""A file of lines that only grows: a line is on disk whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from cerviclip.locks import lock
from dassl.errors import UserError


class DiskFullError(OSError):
    """Lines could not be written; none of them is in the file."""


class AppendFile:
    """A file open for appending, by one process at a time.

    Half a last line, which a killed process may leave, is cut off.

    Args:
        path: made where it is not there, for its owner alone.
        what: it is, in words of an error.

    Attributes:
        lines: whole lines that it had when it was opened; the opener may clear it.
        cut: bytes of the half line.

    Raises:
        UserError: it cannot be written, or another process has it open.
    """

    def __init__(self, path: str | Path, what: str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise UserError(f"{what} {path} cannot be written ({error.strerror})") from error
        _lock(self._handle, self.path, what)
        data = self.path.read_bytes()
        self._size = data.rfind(b"\n") + 1
        self.cut = len(data) - self._size
        self.lines = data[: self._size].decode("utf-8", "replace").split("\n")[:-1]

    def cut_half_line(self) -> None:
        """Cut off the half line; until then the file is as it was found."""
        os.ftruncate(self._handle, self._size)

    def append(self, data: bytes) -> None:
        """Write whole lines; they are on disk when this returns.

        Raises:
            DiskFullError: they are not, and the file is as before.
        """
        try:
            written = 0
            while written < len(data):
                written += os.write(self._handle, data[written:])
            os.fsync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, self._size)  # frees space: it works on a full disk
            raise DiskFullError(error.errno, f"{self.path} cannot be written") from error
        self._size += len(data)

    def close(self) -> None:
        os.close(self._handle)


def _lock(handle: int, path: Path, what: str) -> None:
    if not lock(handle, wait=False):
        os.close(handle)
        raise UserError(f"{what} {path} is in use by another server; give each server its own")
