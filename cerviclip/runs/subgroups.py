"""Subgroups of a centre's images by a column of any CSV file: age bands, devices, HPV types.

The file names each image (column ``path``) or each patient (``patient_id``); an optional column
``center`` tells patients of two centres apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cerviclip.data.files.csv_rows import Rows, read_rows
from cerviclip.data.files.names import PATH_KEYS, PATIENT_KEYS, header_key
from dassl.errors import MissingFileError, UserError, did_you_mean
from dassl.paths import is_file

UNKNOWN = "unknown"
MOST = 12  # groups; more are a number or a name, not a group


@dataclass(frozen=True)
class Subgroups:
    """A column of a file.

    Args:
        path: of the file.
        column: its name.
        key: ``path`` or ``patient_id``.
        values: (center or "", key's value) -> group.
    """

    path: Path
    column: str
    key: str
    values: dict[tuple[str, str], str]

    @property
    def names(self) -> list[str]:
        """The groups in the order of their names, numbers by size, ``unknown`` last."""
        found = sorted(dict.fromkeys(self.values.values()), key=_by_size)
        return [*(name for name in found if name != UNKNOWN), UNKNOWN]

    def of_images(
        self, center: str, paths: Sequence[str], patient_ids: Sequence[str]
    ) -> np.ndarray:
        """(B,) the group of each image; ``unknown`` where the file does not tell it."""
        keys = paths if self.key == "path" else patient_ids
        found = (self.values.get((center, k)) or self.values.get(("", k)) or UNKNOWN for k in keys)
        return np.array(list(found), dtype=object)


def read_subgroups(spec: object) -> Subgroups:
    """From ``FILE:column``.

    Raises:
        UserError: the file has no such column, names neither images nor patients, says two things
            of one of them, or has more groups than a table can show.
    """
    name, _, column = str(spec).rpartition(":")
    if not name or not column:
        raise UserError(f"subgroups {spec!r}: give FILE:column, such as patients.csv:age_band")
    path = Path(name)
    if not is_file(path):
        raise MissingFileError(f"no file {path} for subgroups; give FILE:column")
    head, rows = read_rows(path)
    if column not in head:
        hint = did_you_mean(column, head)
        raise UserError(f"{path} has no column {column!r}{hint} (it has {', '.join(head)})")
    ways = _who([name for name in head if name != column])
    if not ways:
        raise UserError(f"{path} needs a column path or patient_id beside {column!r}")
    found = [(key, *_groups(rows, column, name)) for key, name in ways]
    # A patient's images may be of several devices: then the file is one of images.
    key, values, wrong = next((one for one in found if not one[2]), found[0])
    if wrong:
        raise UserError(f"{path}, {wrong}; a patient or an image has one {column}")
    groups = set(values.values())
    if len(groups) > MOST:
        raise UserError(
            f"{path}: column {column!r} has {len(groups)} values, more than {MOST}; "
            "write groups into a column of its own, such as age_band"
        )
    return Subgroups(path, column, key, values)


def _groups(rows: Rows, column: str, of: str) -> tuple[dict[tuple[str, str], str], str]:
    """(center or "", name in the column ``of``) -> group, and where a name has two groups."""
    values: dict[tuple[str, str], str] = {}
    for line, row in rows:
        who = (row.get("center", "").strip(), row[of].strip())
        group = row[column].strip() or UNKNOWN
        if values.setdefault(who, group) != group:
            return values, f"line {line}: {who[1]} is {group!r} here and {values[who]!r} above"
    return values, ""


def _who(head: Sequence[str]) -> list[tuple[str, str]]:
    """``path`` or ``patient_id`` and the column that holds it: one called so, or those with usual
    names, patients first."""
    for key in ("path", "patient_id"):
        if key in head:
            return [(key, key)]
    by_key = {header_key(name): name for name in reversed(head)}
    ways = (("patient_id", PATIENT_KEYS), ("path", PATH_KEYS))
    found = [(key, [by_key[name] for name in names if name in by_key]) for key, names in ways]
    return [(key, names[0]) for key, names in found if names]


def _by_size(name: str) -> tuple[int, float, str]:
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)
