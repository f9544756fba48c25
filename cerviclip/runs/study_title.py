"""How people are told of a data set: by ``DATASET.TITLE`` of its runs, else by its name.

Folders, hashes, groups and ``dataset`` of results.json have the registered name, whatever the
title. A title changes no number, so a run keeps it under ``runtime``. Needs no torch.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from typing import Any

from cerviclip.plugins import is_phantom
from cerviclip.shapes import Misshapen
from dassl.errors import UserError

KEY = "DATASET.TITLE"
MOST = 80  # characters
_SIGNS = ",.:;()/+-&%'?!="
# Signs that Markdown, LaTeX, HTML, rich or matplotlib read as a command are in none of them, so
# that a title needs no escape wherever it is shown; LaTeX's & and % are escaped with all others.
_ASCII = frozenset(string.ascii_letters + string.digits + " " + _SIGNS)
PHANTOM = " (phantom data)"
_MOST_NAMED = 5  # titles of one note


# -- what a title can be --------------------------------------------------------------------------


def wrong_in_title(text: str) -> str:
    """What is wrong with a title; "" for a sound one, and for none."""
    if len(text) > MOST:
        return f"it has {len(text):,} characters"
    wrong = [c for c in text if not c.isprintable() or (c.isascii() and c not in _ASCII)]
    if wrong:
        return f"it holds {wrong[0]!r}"
    if text and not text[0].isalnum():
        return f"it begins with {text[0]!r}"
    return "it ends with a space" if text.endswith(" ") else ""


def check_title(text: str) -> None:
    """Refuse a title that cannot be shown everywhere.

    Raises:
        UserError: in one line, what is wrong with it.
    """
    if wrong := wrong_in_title(text):
        raise UserError(
            f"{KEY} {_short(text)} cannot be shown everywhere: {wrong}; give at most {MOST} "
            f"letters, digits, spaces and {' '.join(_SIGNS)}, a letter or digit first"
        )


def check_titles(named: Iterable[tuple[str, str]]) -> None:
    """Refuse one title for two data sets, whose tables nobody could tell apart.

    Args:
        named: registered name and title of each run.

    Raises:
        UserError: two data sets have the same title.
    """
    seen: dict[str, str] = {}
    for dataset, title in named:
        other = seen.setdefault(title, dataset)
        if title and other != dataset:
            raise UserError(
                f"{KEY} {title!r} would name two data sets, {other} and {dataset}; give it to "
                "one of them, with a command for each"
            )


def title(value: Any, where: str) -> None:
    """The shape of a title in a file (``cerviclip.shapes``)."""
    wrong = wrong_in_title(value) if isinstance(value, str) else "it is no text"
    if wrong:
        raise Misshapen(f"{where} is {_short(value)}, not a title: {wrong}")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 50 else f"{shown[:50]}..."


# -- the shown name -------------------------------------------------------------------------------


def named(dataset: str, title: str) -> str:
    """The title, else the registered name. A title does not hide that data are phantoms."""
    return title + PHANTOM * is_phantom(dataset) if title else dataset


def title_of(run: Mapping[str, Any]) -> str:
    """The title that a run's results.json has; "" for none, as in older runs."""
    return str((run.get("runtime") or {}).get("title") or "")


def titles_of(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """All titles of several runs, "" where some have none. A pooled score has those of its runs."""
    return list(dict.fromkeys(t for run in runs for t in run.get("titles") or [title_of(run)]))


def shown_name(dataset: str, runs: Iterable[Mapping[str, Any]]) -> str:
    """What people are told of the data set of these runs: the title that all of them have, else
    the registered name."""
    titles = titles_of(runs)
    return named(dataset, titles[0] if len(titles) == 1 else "")


def marked_name(dataset: str, runs: Iterable[Mapping[str, Any]]) -> str:
    """The same for a heading, where phantoms are marked under their registered name too."""
    shown = shown_name(dataset, runs)
    return shown if shown != dataset else marked(dataset)


def marked(dataset: str) -> str:
    """A registered name, phantoms marked."""
    return dataset + PHANTOM * is_phantom(dataset)


def title_notes(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """A note where runs of one table have different titles, so that none of them is shown."""
    titles = titles_of(runs)
    if len(titles) < 2:
        return []
    told = [f'"{title}"' if title else "none" for title in sorted(titles, key=lambda t: not t)]
    more = f" and {len(told) - _MOST_NAMED} more" if len(told) > _MOST_NAMED else ""
    return [f"runs with different titles ({KEY}): {', '.join(told[:_MOST_NAMED])}{more}"]
