"""The runs behind a draft: the table of the first of them, and a CSV of all."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cerviclip.report.document import Document
from cerviclip.report.study import Study

_HEAD = ("data set", "method", "shots", "fold", "seed", "split", "draw", "config")
MOST = 40  # rows of the table
HASH_DIGITS = 12
HASHES = ("split_hash", "draw_hash", "config_hash")
COLUMNS = (
    *("folder", "dataset", "trainer", "variant", "backbone", "shots", "fold", "seed", "status"),
    *(*HASHES, "weights_sha256", "error"),
)


def runs_table(document: Document, study: Study, csv_name: str) -> None:
    """Add the table; of what is too much for it the CSV tells."""
    several = len(study.parts) > 1
    rows = [
        (
            *((study.name_of(run["dataset"]),) if several else ()),
            run["trainer"] + ("" if run["variant"] == "default" else f" ({run['variant']})"),
            str(run["shots"]),
            run["fold"] or "-",
            str(run["seed"]),
            *(str(run[key] or "-")[:HASH_DIGITS] for key in HASHES),
        )
        for run in study.done
    ]
    left = len(rows) - MOST
    document.table(
        "Runs with the start of each hash.",
        (*_HEAD[not several :],),
        rows[:MOST],
        "software",
        "audit",
        labels=7 + several,
        note=f"Folder of the runs: {study.folder.name}. {csv_name} has every run with its whole "
        f"hashes{f', {left} more than are shown here' if left > 0 else ''}.",
    )


def write_runs(study: Study, path: Path) -> None:
    """Write every run to a CSV, also those that failed, with why."""
    from dassl.utils.files import atomic_write

    with atomic_write(path) as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_row(run, study.folder) for run in [*study.done, *study.failed])


def _row(run: Mapping[str, Any], root: Path) -> dict[str, Any]:
    found = {key: run.get(key) for key in COLUMNS}
    place = Path(run["folder"])
    inside = place.is_relative_to(root)
    return found | {
        "folder": (place.relative_to(root) if inside else place).as_posix(),
        "error": " ".join(str(run.get("error") or "").split()),
    }
