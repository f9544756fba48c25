"""``jobs.csv`` beside a sweep's tables: which job made each run, on which machine, and its log."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from cerviclip.runs.cluster.journal import ENDED
from cerviclip.runs.cluster.submissions import last_jobs

FILE = "jobs.csv"
COLUMNS = ("folder", "state", "starts", "job", "node", "log", "error")


def write_jobs_table(root: Path) -> Path | None:
    """Write the table of all runs that jobs have begun; None where there are none.

    Args:
        root: the sweep's folder; paths below it are relative to it.
    """
    rows = []
    for folder, last in sorted(last_jobs(root).items()):
        event = last.event
        state = ("failed" if event.error else "done") if event.what == ENDED else event.what
        place = (_below(folder, root), state, last.starts, event.job, event.node)
        rows.append((*place, _below(event.log, root), event.error or ""))
    if not rows:
        return None
    from dassl.utils.files import atomic_write  # brings torch; the table's name does not

    path = root / FILE
    with atomic_write(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
    return path


def _below(path: str, root: Path) -> str:
    whole, start = os.path.abspath(path), os.path.abspath(root) + os.sep
    return whole.removeprefix(start) if path else ""
