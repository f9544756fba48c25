"""Python's warnings of a run, kept for results.json beside those of its data.

Which of them Python shows depends on what the process has shown before, so they stand under
``runtime``; what was found in the data stands under ``warnings``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def kept_warnings() -> Iterator[list[str]]:
    """The texts of all warnings that are shown in the block; they are shown as ever."""
    texts: list[str] = []
    show = warnings.showwarning

    def keep(message: Any, category: Any, *place: Any, **more: Any) -> None:
        text = f"{category.__name__}: {message}"
        if text not in texts:
            texts.append(text)
        show(message, category, *place, **more)

    warnings.showwarning = keep
    try:
        yield texts
    finally:
        if warnings.showwarning is keep:
            warnings.showwarning = show
