"""A check's tables on the screen and its JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.counted import counted
from cerviclip.data.checks.findings import Finding, shown
from cerviclip.data.checks.probe import Probe
from cerviclip.data.checks.survey import WHOLE, Survey
from cerviclip.severity import COLORS, NOTE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

VERSION = 1
_MOST = 40  # classes that are listed on the screen


@dataclass
class Report:
    """What a check has seen.

    Attributes:
        survey: who is where.
        probes: what each file holds.
        findings: in the order in which they are shown.
        left_out: findings of kinds that the user does not want to hear of, by kind.
    """

    survey: Survey
    probes: Sequence[Probe]
    findings: Sequence[Finding]
    left_out: Counter[str]

    @property
    def faults(self) -> list[Finding]:
        """Findings that change the exit status."""
        return [f for f in self.findings if f.severity != NOTE]

    def record(self) -> dict[str, Any]:
        """The content of the JSON file."""
        survey = self.survey
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        for (name, part), n in sorted(_images(survey).items()):
            counts[shown(name)][part] = n
        return {
            "version": VERSION,
            "name": survey.name,
            "images": len(survey.entries),
            "counts": counts,
            "patients": _patients(survey),
            "patients_known": survey.patients_known,
            "split": "made" if survey.made else "found" if survey.parts != [WHOLE] else "none",
            **{what: dict(found.most_common()) for what, found in _properties(self.probes).items()},
            "findings": [finding.record() for finding in self.findings],
            "ignored": dict(self.left_out),
        }

    def show(self, console: Console) -> None:
        """Print the tables."""
        survey = self.survey
        known = "" if survey.patients_known else " (patients not known)"
        made = ", split by ratio" if survey.made else ""
        where = shown(str(_from_here(survey.folder)))
        head = f"{survey.name}: {counted(len(survey.entries), 'image')} in {where}"
        console.print(f"{head}{known}{made}", markup=False, highlight=False, soft_wrap=True)
        console.print(_table_of_counts(survey))
        for what, found in _properties(self.probes).items():
            listed = ", ".join(f"{value} ({n})" for value, n in found.most_common(5))
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            console.print(f"{what}: {listed}{more}", markup=False, highlight=False)
        if self.findings:
            console.print(_table_of_findings(self.findings))
        grades = Counter(f.severity for f in self.findings)
        said = ", ".join(counted(grades[grade], grade) for grade in COLORS if grades[grade])
        ignored = f"; {self.left_out.total()} ignored" if self.left_out else ""
        console.print(f"{said or 'nothing found'}{ignored}", highlight=False)


def _from_here(folder: Path) -> Path:
    """A folder as it is named from where the command runs, if it lies below."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _images(survey: Survey) -> Counter[tuple[str, str]]:
    return Counter((entry.classname, entry.part) for entry in survey.entries)


def _patients(survey: Survey) -> dict[str, int]:
    """Patients in each part."""
    return {
        part: len({e.patient for e in survey.entries if e.part == part and e.patient})
        for part in survey.parts
    }


def _properties(probes: Sequence[Probe]) -> dict[str, Counter[str]]:
    read = [p for p in probes if not p.error]
    return {
        "modes": Counter(p.mode for p in read),
        "bits": Counter(f"{p.bits} bits" for p in read),
        "sizes": Counter(f"{p.size[0]}x{p.size[1]} px" for p in read),
        "formats": Counter(p.format for p in read),
    }


def _table_of_counts(survey: Survey) -> Table:
    from rich import box
    from rich.table import Table

    counts, parts = _images(survey), survey.parts
    totals = Counter(entry.classname for entry in survey.entries)
    table = Table(box=box.SIMPLE)
    table.add_column("class")
    for part in [*parts, *(["total"] if len(parts) > 1 else [])]:
        table.add_column(part, justify="right")

    def row(name: str, numbers: list[int]) -> None:
        whole = [sum(numbers)] if len(parts) > 1 else []
        table.add_row(name, *map(str, [*numbers, *whole]))

    for name in sorted(totals)[:_MOST]:
        row(_plain(shown(name) or '""'), [counts[name, part] for part in parts])
    if len(totals) > _MOST:
        rest = sorted(totals)[_MOST:]
        row(f"{len(rest)} more", [sum(counts[n, part] for n in rest) for part in parts])
    table.add_section()
    row("images", [sum(counts[name, part] for name in totals) for part in parts])
    if survey.patients_known:
        per_part = _patients(survey)
        whole = [str(len({e.patient for e in survey.entries if e.patient}))] * (len(parts) > 1)
        table.add_row("patients", *(str(per_part[part]) for part in parts), *whole)
    return table


def _table_of_findings(findings: Sequence[Finding]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    table.add_column("finding", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("what")
    for finding in findings:
        color = COLORS[finding.severity]
        kind = f"[{color}]{finding.kind}[/{color}]"
        table.add_row(kind, str(finding.number), _plain(finding.text))
    return table


def _plain(text: str) -> str:
    """Text whose brackets rich does not take for its marks."""
    from rich.markup import escape

    return escape(text)
