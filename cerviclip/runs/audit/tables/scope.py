"""Which runs the tables of a folder are of: those of one sweep are compared with each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.report.pooled import POOLED

JSON, CSV, MARKDOWN = "summary.json", "summary.csv", "results.md"
_DEPTH = 6  # parts of a run's folder below its sweep's: data set to seed


def folders_with_tables(root: Path) -> list[Path]:
    """Every folder at or below ``root`` that has tables."""
    names = {JSON, CSV, MARKDOWN, POOLED}
    return sorted(Path(folder) for folder, _, files in os.walk(root) if names.intersection(files))


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
