"""federation.json: which centres a federation had, and what has travelled. Needs no Flower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cerviclip.runs.settings.folders import WAYS, center_named
from cerviclip.shapes import anything, count, flag, listed, mapping, read_own_json, record, text
from dassl.errors import UserError
from dassl.paths import is_file

RECORD = "federation.json"
POOLED_SITE = "all"  # the folder of the run on all centres' images
#: What of it a table reads.
A_RECORD = record(
    {
        "rounds": listed(record({"participants": count, "images": mapping(anything)})),
        "bytes_up": count,
        "bytes_down": count,
        "encrypted": flag,
    },
    {"centers": listed(text)},
)


def read_record(
    out: Path, way_out: str = "delete it to make the federation again"
) -> dict[str, Any]:
    """A federation's record.

    Args:
        out: folder of the federation.
        way_out: what to do where it is damaged.

    Raises:
        UserError: it cannot be read, or has another shape.
    """
    return read_own_json(out / RECORD, A_RECORD, way_out)


def center_of(folder: Path, variant: str) -> str:
    """Whose run of a federation a folder holds: its centre, by the record above it.

    Args:
        folder: such as ``out/local/huaxi``.
        variant: that its results.json has.

    Returns:
        "" for a run that no record has beside it, or that is of no centre of it.
    """
    name = center_named(folder, variant)
    known = _centers(folder.parent.parent) if name else ()
    pooled = folder.parent.name == WAYS[2] and name == POOLED_SITE
    return name if name in known or (known and pooled) else ""


def _centers(out: Path) -> tuple[str, ...]:
    try:
        return tuple(read_record(out).get("centers") or ()) if is_file(out / RECORD) else ()
    except UserError:
        return ()
