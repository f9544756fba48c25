"""Which runs the tables of a folder are of: those of one sweep are compared with each other."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.report.groups import TITLES
from cerviclip.runs.report.pooled import POOLED
from cerviclip.runs.settings.folders import RESULTS

JSON, CSV, MARKDOWN = "summary.json", "summary.csv", "results.md"
_TITLE = re.compile(
    rf"^#+ [^\n]*: (?:{'|'.join(map(re.escape, TITLES.values()))})(?:$|,)".encode(), re.MULTILINE
)
_HEAD = re.compile(rb"\A(?:\xef\xbb\xbf)?dataset,trainer,backbone,variant,shots,")
_GROUPS = re.compile(rb"\A\s*\{[^{}]{0,200}\"groups\"\s*:\s*\[")
_POOLED = re.compile(rb"\A\s*\{[^{}]{0,200}\"pooled\"\s*:\s*\[\s*\{")
_TEXTS = (".md", ".csv", ".tex", ".docx", ".pdf", ".html", ".xlsx")
_DEPTH = 6  # parts of a run's folder below its sweep's: data set to seed


def folders_with_tables(root: Path) -> list[Path]:
    """Every folder at or below ``root`` that has tables."""
    names = {JSON, CSV, MARKDOWN, POOLED}
    return sorted(Path(place) for place, inner, files in os.walk(root) if names & {*inner, *files})


def unread(root: Path) -> list[str]:
    """Tables and texts beside runs that no check reads: of a comparison, a report, or a person."""
    known = {JSON, CSV, MARKDOWN, POOLED}
    found = []
    for folder, inner, files in os.walk(root):
        if RESULTS in files:
            inner.clear()
            continue
        inner[:] = [name for name in inner if not name.startswith(".")]
        texts = (name for name in files if name.lower().endswith(_TEXTS) and name not in known)
        found += [Path(folder, name).relative_to(root).as_posix() for name in texts]
    return sorted(found)


def tables_of_nobody(folder: Path, others: Sequence[Path]) -> list[str]:
    """The tables of a folder without runs that are a sweep's by their content, and no copy of those
    of another folder.

    Args:
        folder: one of `folders_with_tables`, below which no run lies.
        others: all of them.
    """
    found = []
    for name, looks_so in ((MARKDOWN, _TITLE), (CSV, _HEAD), (JSON, _GROUPS), (POOLED, _POOLED)):
        try:
            content = (folder / name).read_bytes()
        except OSError:
            continue
        copies = (other / name for other in others if other != folder)
        if looks_so.search(content) and not any(_holds(path, content) for path in copies):
            found.append(name)
    return found


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def by_tables(
    folders: Sequence[Path], runs: Sequence[AuditedRun]
) -> dict[Path | None, list[AuditedRun]]:
    """The runs of each sweep's folder, and under None those that lie below none.

    A file called as a table is does not make a folder a sweep's, and takes no run out of the
    comparison with others: in a sweep's folder a run lies where its key says.

    Args:
        folders: of `folders_with_tables`.
        runs: all of the audit.
    """
    sweeps = set(folders) & {home for run in runs if (home := _home(run)) is not None}
    found: dict[Path | None, list[AuditedRun]] = {}
    for run in runs:
        own = next((folder for folder in run.folder.parents if folder in sweeps), None)
        found.setdefault(own, []).append(run)
    return found


def _home(run: AuditedRun) -> Path | None:
    """The folder of the sweep in whose layout a run lies."""
    above = run.folder.parents
    if len(above) < _DEPTH:
        return None
    home = above[_DEPTH - 1]
    return home if run.key.folder(home) == run.folder else None
