"""One spelling of each class in the whole draft, which is explained once, on the data card."""

from __future__ import annotations

from collections.abc import Iterable

from cerviclip.runs.report.figures import plain_name

__all__ = ["explained", "plain_name"]


def explained(names: Iterable[str]) -> str:
    """The classes as the draft calls them, each with its long name, and with what files call it.

    ``cyst, HSIL (high-grade squamous intraepithelial lesion); in files and folders: cyst, ...``;
    the second half only where files have another spelling.
    """
    names = list(names)
    told = ", ".join(_with_long_name(name) for name in names)
    if all(plain_name(name) == name for name in names):
        return told
    return f"{told}; in files and folders: {', '.join(names)}"


def _with_long_name(name: str) -> str:
    word, whole = plain_name(name), name.replace("_", " ")
    return word if word == whole else f"{word} ({whole})"
