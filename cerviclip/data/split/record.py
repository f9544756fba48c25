"""``split.json`` of a run, read with care: who is in which part, and the hashes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cerviclip.data.split.patient_grouped import PARTS
from cerviclip.shapes import either, listed, mapping, maybe, parse_json, record, text, whole

FILE = "split.json"
_ROWS = maybe(
    listed(
        record(
            {"path": text},
            {"label": whole, "patient": maybe(either(whole, text)), "domain": maybe(text)},
        )
    )
)
_SHAPE = record(
    {},
    {
        **dict.fromkeys((*PARTS, "train_u"), _ROWS),
        **dict.fromkeys(("dataset", "hash", "draw_hash", "test_hash", "fold", "version"), text),
        **dict.fromkeys(("by", "shots_by", "scenario", "rows_hash"), text),
        **dict.fromkeys(("sources", "targets"), listed(text)),
        **dict.fromkeys(("shots", "draw_seed", "seed"), whole),
        "classes": listed(text),
        "images": maybe(mapping(text)),
    },
)


def read_split_record(path: Path) -> dict[str, Any]:
    """The content of a ``split.json``; each part that is there is a list of rows with a path.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such record; in one line why.
    """
    content = parse_json(path.read_text(encoding="utf-8"))
    _SHAPE(content, "")
    return dict(content)
