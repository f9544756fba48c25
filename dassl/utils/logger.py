"""``log.txt``: a tee of what the program prints."""

from __future__ import annotations

import os
import os.path as osp
import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO

__all__ = ["Logger", "setup_logger"]


class Logger:
    """Writes to the console and to a file; stands in for ``sys.stdout``.

    Args:
        fpath: the file, its folder is made; None: console only.
    """

    def __init__(self, fpath: str | None = None) -> None:
        self.console: TextIO = sys.stdout
        self.file: TextIO | None = None
        if fpath is not None:
            os.makedirs(osp.dirname(osp.abspath(fpath)), exist_ok=True)
            self.file = open(fpath, "w", encoding="utf-8", buffering=1)  # line by line

    def write(self, msg: str) -> int:
        """Write to both.

        Raises:
            OSError: the file cannot be written, which is said once; the console goes on.
        """
        self.console.write(msg)
        if self.file is not None:
            try:
                self.file.write(msg)
            except OSError as error:
                error.filename = self.file.name
                self._close_file()
                raise
        return len(msg)

    def flush(self) -> None:
        self.console.flush()
        if self.file is not None:
            self.file.flush()

    def close(self) -> None:
        """Close the file and, if this is still ``sys.stdout``, put the console back."""
        self._close_file()
        if sys.stdout is self:
            sys.stdout = self.console

    def _close_file(self) -> None:
        file, self.file = self.file, None
        if file is not None:
            with suppress(OSError):  # on a full disk: half a line, of which `write` has told
                file.close()

    def __enter__(self) -> Logger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:  # isatty, encoding, fileno, buffer ...
        if name in ("console", "file"):
            raise AttributeError(name)
        return getattr(self.console, name)


def setup_logger(output: str | None = None) -> Logger | None:
    """Copy all that is printed from now on into ``log.txt``.

    An existing log is kept: the new one's name ends in the time, as upstream's.

    Args:
        output: a folder, or a file that ends in .txt or .log; None does nothing.

    Returns:
        The tee; ``close()`` it to give the console back (a sweep does so after each run).
    """
    if output is None:
        return None
    output = str(output)
    fpath = output if output.endswith((".txt", ".log")) else osp.join(output, "log.txt")
    if osp.exists(fpath):
        fpath += time.strftime("-%Y-%m-%d-%H-%M-%S")
        first, n = fpath, 1
        while osp.exists(fpath):  # two in one second
            n += 1
            fpath = f"{first}-{n}"
    logger = Logger(fpath)
    sys.stdout = logger  # type: ignore[assignment]
    return logger
