"""Grades of a finding (error, warning, note) and where a table of them is printed, for checks of
images and audits of runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

ERROR, WARNING, NOTE = "error", "warning", "note"
RANK = {ERROR: 0, WARNING: 1, NOTE: 2}  # the worst first
_WIDTH_OF_A_FILE = 2000  # letters
COLORS = {ERROR: "red", WARNING: "yellow", NOTE: "cyan"}  # on the screen


def report_console() -> Console:
    """Where a table of findings is printed. A pipe or a file has no width: a finding is one line
    there, so that its path can be searched for and copied."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDTH_OF_A_FILE
    return console
