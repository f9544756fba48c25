"""What ``--list`` prints: every trainer, dataset and backbone with one line each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from cerviclip import plugins
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag


def listing(width: int | None = None) -> str:
    """The three lists as text, cut to the terminal's width; whole where there is no terminal.

    Behind a trainer's name stands what it learns, which tells what it costs: ``nothing`` or a
    ``head`` takes seconds, ``prompts`` a pass of the text tower each step, ``weights`` a pass of
    the towers.
    """
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    lines: list[str] = []
    for kind, title in (
        ("trainer", "Trainers"),
        ("dataset", "Datasets"),
        ("backbone", "Backbones"),
    ):
        entries = plugins.discover()[kind]
        lines.append(f"{title} ({len(entries)})")
        column = max((len(name) for name in entries), default=0) + 2
        kinds = max((len(entry.learns) for entry in entries.values()), default=0)
        kinds += 2 * (kinds > 0)
        for name, entry in entries.items():
            origin = f" [plug-in {entry.plugin}]" if entry.plugin else ""
            line = f"  {name:<{column}}{entry.learns:<{kinds}}{entry.summary}{origin}".rstrip()
            lines.append(line if len(line) <= width else line[: width - 3].rstrip() + "...")
        lines.append("")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip list") -> int:
    """``cerviclip list``: print the three lists."""
    parser = Parser(prog=prog, description="List trainers, data sets and backbones.")
    add_plugin_flag(parser)
    add_debug_flag(parser)
    plugins.add_plugins(parser.parse_args(argv).plugins)
    print(listing())
    return 0
