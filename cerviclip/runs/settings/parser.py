"""The argument parser of every command, and the flags that many commands share.

Imports nothing heavy.
"""

from __future__ import annotations

import argparse
import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from dassl.errors import UserError, nearest

_GOAL = re.compile(r"^Goal\n((?: +\S.*\n)+)", re.MULTILINE)
_UNKNOWN = "unrecognized arguments: "  # argparse's own words
_USAGE = re.compile(r"^Usage:?$", re.MULTILINE)
Group = argparse._ArgumentGroup | argparse.ArgumentParser


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line, as all of ours; it completes in shells.

    A description may be a module's docstring: see `help_text`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.description = help_text(self.description)

    def error(self, message: str) -> NoReturn:
        hint = ""
        if message.startswith(_UNKNOWN):
            words = message.removeprefix(_UNKNOWN).split() or ["''"]  # blanks alone in quotes
            message = _UNKNOWN + " ".join(words)
            flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
            unknown = [word.partition("=")[0] for word in words if word.startswith("--")]
            hint = _meant(unknown[0], flags) if unknown else ""
        raise UserError(f"{message}{hint} ({self.prog} --help lists the flags)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._complete()
        return _at_home(super().parse_args(args, namespace))

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._complete()
        return _at_home(super().parse_intermixed_args(args, namespace))

    def _complete(self) -> None:
        if "_ARGCOMPLETE" in os.environ:
            import argcomplete

            argcomplete.autocomplete(self)  # answers the shell and ends the process


_ALIKE = 0.65  # of `similarity`, without the dashes, which all flags share
_BEGINNING = 3  # letters that name a flag by its beginning, or the reverse


def _meant(word: str, flags: Sequence[str]) -> str:
    """A hint to a flag that is spelled nearly so, or begins so."""
    name = word.lstrip("-")
    names = [flag.lstrip("-") for flag in flags]
    begun = [
        flag
        for flag in names
        if min(len(flag), len(name)) >= _BEGINNING
        and (flag.startswith(name) or name.startswith(flag))
    ]
    found = nearest(name, names, _ALIKE) or nearest(name, begun, 0.0)
    return f", did you mean '--{found}'?" if found else ""


_WRITTEN_TO = ("output_dir", "output", "out", "csv", "pdf")


def _at_home(found: Any) -> Any:
    """What a command is to write to, with the home folder for ``~``: the shell leaves it in
    ``--out=~/x`` and in quotes, and a folder called ``~`` is nobody's wish."""
    for name in _WRITTEN_TO:
        value = getattr(found, name, None)
        if isinstance(value, (str, Path)) and str(value).startswith("~"):
            setattr(found, name, type(value)(os.path.expanduser(value)))
    return found


def help_text(doc: str | None) -> str | None:
    """A docstring of the form Goal, Usage, Example output, as a help: the goal as a sentence, and
    no second "usage" under argparse's own."""
    if doc is None:
        return None
    doc = re.sub(r"\AGoal: (\w)", lambda match: match[1].upper(), doc)
    doc = re.sub(
        r"^Goal\n((?: +\S.*\n)+)", lambda match: textwrap.dedent(match[1]), doc, flags=re.M
    )
    return re.sub(r"^Usage:?$", "Examples:", doc, flags=re.M).replace("``", "")


def add_plugin_flag(group: Group) -> None:
    group.add_argument(
        "--plugin", action="append", default=[], dest="plugins",
        metavar="MODULE|FILE.py",
        help="also use the trainers and datasets registered there (may be repeated)",
    )  # fmt: skip


def add_debug_flag(group: Group) -> None:
    """What ``cli_main`` looks for among a command's words."""
    group.add_argument("--debug", action="store_true", help="show the traceback of every error")


def add_device_flag(group: Group) -> None:
    group.add_argument(
        "--device", default="", choices=["cpu", "cuda"],
        help="default: a GPU where there is one, else the CPU",
    )  # fmt: skip
