"""Entries of rows with named fields, of a table or of JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cerviclip.data.files.lists.columns import (
    is_true,
    label_columns,
    one_hot,
    part_column,
    parts_by_truth,
    refuse_columns_alike,
    refuse_nested,
)
from cerviclip.data.files.lists.entries import (
    Entries,
    Entry,
    class_of,
    clean_path,
    refuse_two_words,
)
from cerviclip.data.files.names import (
    FOLDER_KEYS,
    PART_KEYS,
    PATH_KEYS,
    PATIENT_KEYS,
    cell,
    clean,
    header_key,
    part_name,
    parts_of,
    whole_number,
)
from dassl.errors import UserError


def from_rows(
    rows: Sequence[tuple[str, Mapping[Any, Any]]], classes: tuple[str, ...], part: str = ""
) -> Entries:
    """Entries of rows of named fields, each with where it stands."""
    refuse_nested(rows)
    columns = {name: header_key(name) for _, row in rows for name in row}
    refuse_columns_alike(rows, columns)
    labels = label_columns(rows, columns, classes)
    people = [key for key in PATIENT_KEYS if key in columns.values()]
    part_key = part_column(rows, columns)
    words = {cell(row.get(n)) for n, k in columns.items() if k == part_key for _, row in rows}
    part_of = parts_of(words)
    if rows:
        refuse_two_words(part_of, rows[0][0])
    used = [*PATH_KEYS, *people, *FOLDER_KEYS, part_key]
    truth, told_by_truth = ([], []) if words - {""} else parts_by_truth(rows, columns)
    used += [columns[name] for name in truth]
    hot = [] if labels else one_hot(rows, [n for n, k in columns.items() if k and k not in used])
    entries = Entries()
    for n, (where, row) in enumerate(rows):
        by_key = {columns[name]: row[name] for name in reversed(list(row))}
        path = _first(by_key, PATH_KEYS)
        if not path:
            raise UserError(f'{where} has no "path" (it has {", ".join(map(str, row))})')
        label = next((text for name in labels if (text := cell(row.get(name)))), "")
        label = next((clean(name) for name in hot if is_true(row[name])), label)
        told = told_by_truth[n] if truth else cell(by_key.get(part_key))
        path, folder = clean_path(path), clean_path(_first(by_key, FOLDER_KEYS))
        entries.append(
            Entry(
                f"{folder}/{path}" if folder else path,
                class_of([label], classes) if label else "",
                whole_number(_first(by_key, people)),
                part or part_of.get(told, part_name(told)),
                path if folder else "",
            )
        )
    if hot:
        entries.notes.append(
            f"classes are the columns {', '.join(map(str, hot))}, 1 in one of them"
        )
    if truth:
        gives = "column {} gives" if len(truth) == 1 else "columns {} give"
        entries.notes.append(f"the {gives.format(', '.join(map(str, truth)))} the split")
    if part_key not in PART_KEYS:
        name = next(name for name, key in columns.items() if key == part_key)
        entries.notes.append(f"the column {name} gives the split")
    labels += hot
    unused = [str(n) for n, k in columns.items() if k and n not in labels and k not in used]
    if unused:
        entries.notes.append(f"columns that are not used: {', '.join(unused)}")
        entries.unused = unused
    return entries


def _first(row: Mapping[str, Any], keys: Iterable[str]) -> str:
    return next((text for key in keys if (text := cell(row.get(key)))), "")
