"""log.txt of one run: a tee of stdout that gives the console back afterwards."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Silence:
    """A console that swallows everything: a sweep shows its bar instead of the runs' prints."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def print_to_log(text: str) -> None:
    """Write to log.txt alone, where there is one: a traceback is for those who look for it."""
    file = getattr(sys.stdout, "file", None)
    print(text, file=file if file is not None else sys.stdout)


@contextmanager
def log_to(folder: str | Path, echo: bool = True) -> Iterator[None]:
    """Copy stdout and warnings to ``folder/log.txt`` while the block runs.

    Args:
        folder: the run's folder.
        echo: also print to the console.
    """
    from dassl.utils.logger import setup_logger

    console, show = sys.stdout, warnings.showwarning

    def show_on_stdout(message: Any, *_: Any, **__: Any) -> None:
        print(f"Warning: {message}")

    logger = None
    try:
        if not echo:
            sys.stdout = Silence()  # type: ignore[assignment]
        logger = setup_logger(str(folder))
        with warnings.catch_warnings():  # also lets a warning of an earlier run show again
            warnings.showwarning = show_on_stdout
            yield
    finally:
        warnings.showwarning = show
        if logger is not None:
            logger.close()
        sys.stdout = console
