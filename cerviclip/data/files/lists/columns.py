"""Which column of a list says what: the class, the part of the split, one-hot classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.data.files.names import (
    LABEL_KEYS,
    PART_KEYS,
    PATH_KEYS,
    PATIENT_KEYS,
    SURE_PART_KEYS,
    cell,
    header_key,
    is_number,
    part_name,
    quoted,
    whole_number,
)
from cerviclip.data.split.patient_grouped import PARTS
from dassl.errors import UserError

READ = {*PATH_KEYS, *LABEL_KEYS, *PATIENT_KEYS, *PART_KEYS}  # columns that may be used
_FEW_PARTS = 6  # a column of more different words is no split
# Columns that say yes or no of one part; "valid" may be said of the image.
_TRUTH_PARTS = {
    **dict.fromkeys(("istrain", "istraining", "train", "training"), "train"),
    **dict.fromkeys(("isval", "isvalidation", "val", "validation"), "val"),
    **dict.fromkeys(("istest", "istesting", "test", "testing"), "test"),
}
_TRUE, _FALSE = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}


def refuse_columns_alike(
    rows: Sequence[tuple[str, Mapping[Any, Any]]], columns: Mapping[Any, str]
) -> None:
    """Refuse two columns whose names are one, "Patient" and "Patient #", where they disagree."""
    names: dict[str, list[Any]] = {}
    for name, key in columns.items():
        names.setdefault(key, []).append(name)
    for key, several in names.items():
        if len(several) < 2 or key not in READ or key in LABEL_KEYS:  # labels are compared anyway
            continue
        for where, row in rows:
            if len({text for name in several if (text := cell(row.get(name)))}) > 1:
                raise UserError(
                    f"{where}: the columns {quoted(map(str, several))} mean the same and say two "
                    "things; keep one of them"
                )


def refuse_nested(rows: Sequence[tuple[str, Mapping[Any, Any]]]) -> None:
    """Refuse a list or an object where a path or a name is meant; as text it would be a class."""
    for where, row in rows:
        for name, value in row.items():
            if isinstance(value, (list, dict)) and header_key(name) in READ:
                raise UserError(f'{where}: "{name}" is one text, not {type(value).__name__}')


def part_column(rows: Sequence[tuple[str, Mapping[Any, Any]]], columns: Mapping[Any, str]) -> str:
    """The key of the column that gives the part. One that may mean other things counts only where
    each of its words is a part.

    Raises:
        UserError: some words of such a column are parts, and others are not.
    """
    words = {
        key: {text for _, row in rows if (text := cell(row.get(name)))}
        for name, key in reversed(list(columns.items()))
        if key
    }
    for key in SURE_PART_KEYS:
        if words.get(key):
            return key
    others = [key for key in words if key not in (*PART_KEYS, *READ)]
    for key in [*PART_KEYS, *others]:
        parts = {part_name(word) for word in words.get(key, ())}
        if parts and parts <= set(PARTS) and (key in PART_KEYS or {"train", "test"} <= parts):
            return key
        if "train" in parts and len(parts) <= _FEW_PARTS and not parts <= set(PARTS):
            name = next(name for name, k in columns.items() if k == key)
            odd = sorted(word for word in words[key] if part_name(word) not in PARTS)
            raise UserError(
                f'{rows[0][0]}: the column "{name}" looks like a split, and {quoted(odd)} '
                f"{'is' if len(odd) == 1 else 'are'} none of {', '.join(PARTS)}; write these, or "
                "take the column out"
            )
    return PART_KEYS[0]


def is_true(value: Any) -> bool:
    return cell(value).casefold() in _TRUE


def parts_by_truth(
    rows: Sequence[tuple[str, Mapping[Any, Any]]], columns: Mapping[Any, str]
) -> tuple[list[Any], list[str]]:
    """The columns that say yes or no of one part in each row, and each row's part; empty without
    such columns. A row of which all say no is of the one part that no column is about.

    Raises:
        UserError: a row is in several parts, or in none though each part has its column.
    """
    found = {}
    for name, key in columns.items():
        said = {cell(row.get(name)).casefold() for _, row in rows}
        if key in _TRUTH_PARTS and said <= _TRUE | _FALSE and said & _TRUE and said & _FALSE:
            found[name] = _TRUTH_PARTS[key]
    rest = next((part for part in ("test", "train") if part not in found.values()), "")
    if {*found.values()} <= {"val"}:
        return [], []
    parts: list[str] = []
    for where, row in rows:
        here = {part for name, part in found.items() if is_true(row.get(name))} or {rest} - {""}
        if len(here) != 1:
            raise UserError(
                f"{where} is in {quoted(sorted(here)) or 'no part'} by the columns "
                f"{quoted(map(str, found))}; one of them is 1 in each row, or rename them"
            )
        parts += here
    return list(found), parts


def one_hot(rows: Sequence[tuple[str, Mapping[Any, Any]]], names: list[Any]) -> list[Any]:
    """Columns of which each row has 1 in one and 0 in all others; [] if there are no such."""
    hot = [
        name
        for name in names
        if {cell(row.get(name)) for _, row in rows} <= {"0", "1", "0.0", "1.0"}
    ]
    if len(hot) < 2 or any(sum(is_true(row[name]) for name in hot) != 1 for _, row in rows):
        return []
    return hot


def label_columns(
    rows: Sequence[tuple[str, Mapping[Any, Any]]],
    columns: Mapping[Any, str],
    classes: tuple[str, ...],
) -> list[Any]:
    """The columns that give the class: those with names, before those with bare numbers."""
    found = [n for key in LABEL_KEYS for n, k in columns.items() if k == key]
    if len(found) < 2 or classes:
        return found
    texts = {n: {text for _, row in rows if (text := cell(row.get(n)))} for n in found}
    named = [n for n in found if texts[n] and not all(map(is_number, texts[n]))]
    taken = named or found
    first = taken[0]
    for other in taken[1:]:
        if header_key(first) == "classname":
            break
        for where, row in rows:
            one, two = (whole_number(cell(row.get(name))) for name in (first, other))
            if one and two not in ("", one):
                raise UserError(
                    f'{where}: the columns {quoted(map(str, taken))} give two classes ("'
                    f'{row[first]}", "{row[other]}"); keep one of them'
                )
    return taken
