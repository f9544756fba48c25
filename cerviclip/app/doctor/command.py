"""Goal: see what this machine has and lacks for the project, and what to do.

Usage:
    cerviclip doctor
    cerviclip doctor --output-dir /results --root /data
    cerviclip doctor --json

It looks at versions and extras, GPU, weights, access to gated weights, fonts, disk, ports and
threads; in a few seconds, without a network, and writes nothing. A note is about what some uses
lack; a fault stops the project.

Exit status: 0 no fault, 1 a fault, 2 something to correct in the command.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from cerviclip.app.doctor.check import FAULT, NOTE, OK, Check
from cerviclip.runs.settings.folders import DEFAULT_ROOT
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import cli_main

SCHEMA = 1
_GAP, _LEAST = 2, 12  # letters between columns, and of the last one
_LONGEST_WORD = 30  # characters of a word that 80 columns leave whole
_STYLES = {OK: "green", NOTE: "yellow", FAULT: "bold red"}


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output-dir", type=Path, default=Path(DEFAULT_ROOT), metavar="DIR", help="of the runs"
    )
    parser.add_argument(
        "--root", type=Path, default=Path("data"), metavar="DIR", help="of the data"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    add_debug_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip doctor") -> int:
    args = build_parser(prog).parse_args(argv)
    checks = run_checks(args.output_dir, args.root)
    healthy = all(one.state != FAULT for one in checks)
    if args.json:
        told = {"schema_version": SCHEMA, "healthy": healthy, "checks": list(map(asdict, checks))}
        print(json.dumps(told, indent=1))
    else:
        _print(checks)
    return 0 if healthy else 1


def run_checks(output: Path, data: Path) -> list[Check]:
    """Every check; one that breaks is a fault of its own and stops no other."""
    every: dict[str, Callable[[], Check | list[Check]]] = {
        "Python": _python,
        "packages": _packages,
        "threads": lambda: _machine().check_threads(),
        "GPU": lambda: _machine().check_gpu(),
        "weights": lambda: _machine().check_weights(),
        "gated access": lambda: _machine().check_access(),
        "fonts": lambda: _machine().check_fonts(),
        "folders": lambda: _machine().check_folders(output, data),
        "ports": lambda: _machine().check_ports(),
    }
    found: list[Check] = []
    for name, check in every.items():
        try:
            told = check()
        except Exception as error:  # a broken installation may raise anything
            found.append(Check(name, FAULT, f"{type(error).__name__}: {error}", "see found"))
        else:
            found += told if isinstance(told, list) else [told]
    return found


def _python() -> Check:
    from cerviclip.app.doctor.packages import check_python

    return check_python()


def _packages() -> list[Check]:
    from cerviclip.app.doctor.packages import check_packages

    return check_packages()


def _machine():
    from cerviclip.app.doctor import machine

    return machine


def _widths(checks: Sequence[Check], whole: int) -> tuple[int, int, int, int]:
    """Widths of the columns. Rich cuts letters off where least widths and gaps exceed the line."""
    names, states = max(len(one.name) for one in checks), max(map(len, _STYLES))
    left = whole - names - states - 3 * _GAP
    found = max(len(one.found) for one in checks)
    remedy = max(len(one.remedy) for one in checks)
    if found + remedy > left:
        words = [len(word) for one in checks for word in one.found.split()]
        # No word is broken but for those that fit nowhere, such as long paths.
        longest = max((n for n in words if n <= _LONGEST_WORD), default=1)
        found = max(longest, min(found, left // 2))
    return names, states, found, max(left - found, _LEAST)


def _print(checks: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, width in zip(
        ("check", "state", "found", "what to do"), _widths(checks, console.width), strict=True
    ):
        table.add_column(title, overflow="fold", width=width)
    for one in checks:
        state = Text(one.state, style=_STYLES[one.state])
        table.add_row(Text(one.name), state, Text(one.found), Text(one.remedy))
    console.print(table)
    faults, notes = (sum(one.state == state for one in checks) for state in (FAULT, NOTE))
    print(f"{len(checks)} checks: {faults} faults, {notes} notes")


if __name__ == "__main__":
    sys.exit(cli_main(main))
