"""What ``--list`` prints: every trainer, dataset and backbone with one line each."""

from __future__ import annotations

import shutil
import sys

from dassl import plugins


def listing(width: int | None = None) -> str:
    """The three lists as text, cut to the terminal's width; whole where there is no terminal."""
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
        for name, entry in entries.items():
            origin = f" [plug-in {entry.plugin}]" if entry.plugin else ""
            line = f"  {name:<{column}}{entry.summary}{origin}".rstrip()
            lines.append(line if len(line) <= width else line[: width - 3].rstrip() + "...")
        lines.append("")
    return "\n".join(lines)
