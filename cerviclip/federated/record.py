"""federation.json: which centres a federation had, and what has travelled. Needs no Flower."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.runs.settings.folders import WAYS, center_named
from cerviclip.shapes import (
    anything,
    count,
    flag,
    listed,
    mapping,
    maybe,
    read_own_json,
    record,
    text,
)
from dassl.errors import UserError
from dassl.paths import is_file
from dassl.utils.files import atomic_write

RECORD = "federation.json"
POOLED_SITE = "all"  # the folder of the run on all centres' images
#: Two centres whose images were compared before training; a federation over a network has none.
A_PAIR = record(
    {"centers": listed(text), "images_in_both": count, "shared_patient_ids": maybe(count)},
    {"example": text, "reason": text},
)
#: What of it a table reads.
A_RECORD = record(
    {
        "rounds": listed(record({"participants": count, "images": mapping(anything)})),
        "bytes_up": count,
        "bytes_down": count,
        "encrypted": flag,
    },
    {"centers": listed(text), "leaks": listed(A_PAIR)},
)


def folder_of(out: Path, way: str, center: str) -> Path:
    """Where a run lies: ``out/local/huaxi``, ``out/federated/huaxi``, ``out/pooled/all``."""
    return out / way / (POOLED_SITE if way == "pooled" else center)


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


def write_leaks(out: Path, leaks: Sequence[Mapping[str, Any]]) -> None:
    """Put what was found between the centres into a federation's record, as its last key."""
    whole = read_record(out) | {"leaks": [dict(pair) for pair in leaks]}
    with atomic_write(out / RECORD) as handle:
        json.dump(whole, handle, indent=2)


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
