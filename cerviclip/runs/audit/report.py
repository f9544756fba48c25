"""What an audit has found: the table on the screen and the JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.counted import counted
from cerviclip.runs.audit.findings import Finding
from cerviclip.severity import COLORS, NOTE

if TYPE_CHECKING:
    from rich.console import Console

VERSION = 1
_MOST = 50  # findings that are listed on the screen


@dataclass
class Report:
    """What an audit has seen.

    Attributes:
        folder: the audited one.
        runs: how many runs it holds, failed ones among them.
        done: how many of them are finished.
        full: of how many the intervals and all blocks were made again.
        findings: in the order in which they are shown.
        quick: results.json and tables alone were looked at.
    """

    folder: Path
    runs: int
    done: int
    full: int
    findings: Sequence[Finding]
    quick: bool = False

    @property
    def faults(self) -> list[Finding]:
        """Findings that change the exit status."""
        return [finding for finding in self.findings if finding.severity != NOTE]

    def record(self) -> dict[str, Any]:
        """The content of the JSON file."""
        return {
            "version": VERSION,
            "folder": str(self.folder),
            "runs": self.runs,
            "done": self.done,
            "measured_again_in_full": self.full,
            **({"quick": True} if self.quick else {}),
            "findings": [finding.record() for finding in self.findings],
        }

    def show(self, console: Console) -> None:
        """Print the table."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        part = "" if self.full == self.done else f" of {self.done} (--full all takes every run)"
        head = f"{self.folder}: {counted(self.runs, 'run')}, {self.done} finished"
        said = f"values of all and intervals of {self.full}{part} made again from predictions"
        if self.quick:
            said = "results.json and tables alone (without --quick: all files of every run)"
        console.print(f"{head}; {said}", markup=False, highlight=False, soft_wrap=True)
        table = Table(box=box.SIMPLE)
        table.add_column("finding", no_wrap=True)
        table.add_column("where", overflow="fold")
        table.add_column("what", overflow="fold")
        for finding in self.findings[:_MOST]:
            color = COLORS[finding.severity]
            kind = f"[{color}]{finding.kind}[/{color}]"
            table.add_row(kind, escape(finding.where), escape(finding.text))
        if self.findings:
            console.print(table)
        if len(self.findings) > _MOST:
            console.print(f"and {len(self.findings) - _MOST} more (--json has all)")
        grades = Counter(finding.severity for finding in self.findings)
        counts = [counted(grades[g], g) for g in COLORS if grades[g]]
        console.print(", ".join(counts) or "nothing found", highlight=False)
