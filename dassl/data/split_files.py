"""Reading split files: our own record, the CoOp family's JSON, few-shot pickles, plain lists.

Only what the file says is read here; whether its images exist is checked by the data set.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dassl.errors import MissingFileError, UserError

from .splits import SIDES

_SIDE_NAMES = {"valid": "val", "validation": "val", "dev": "val", "training": "train"}
_PATH_KEYS = ("path", "impath", "image", "file", "filename")
_LABEL_KEYS = ("classname", "class", "label")
_PATIENT_KEYS = ("patient", "patient_id", "slide")
_SIDE_KEYS = ("split", "side", "set")


@dataclass(frozen=True)
class Entry:
    """One line of a split or list file; what the file does not say is empty."""

    path: str
    classname: str = ""
    patient: str = ""
    side: str = ""


def side_name(text: str) -> str:
    """The side that a word means ("valid" is val); the word itself if it is none."""
    lower = text.strip().lower()
    return _SIDE_NAMES.get(lower, lower)


def read_split_file(path: str | Path) -> list[Entry]:
    """Entries of a split file, each with its side.

    Understood are JSON objects with ``train``, ``val`` and ``test`` (lists of paths, of ``[path,
    label, classname]`` as the CoOp family writes them, of objects with ``path label patient`` as we
    do, or class by class ``{class: [paths]}``), lists and CSV files with a ``split`` column, and
    upstream's few-shot pickles.
    """
    entries = read_list_file(path)
    for entry in entries:
        if entry.side not in SIDES:
            raise UserError(
                f'split file {path} puts {entry.path} into "{entry.side}"; '
                f"the parts are {', '.join(SIDES)}"
            )
    return entries


def read_list_file(path: str | Path) -> list[Entry]:
    """Entries of a CSV, JSON or pickle file; ``side`` may be empty."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"there is no split or list file {path}; check the path")
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        entries = _read_csv(path, "\t" if suffix == ".tsv" else ",")
    elif suffix in (".pkl", ".pickle"):
        entries = _read_pickle(path)
    else:
        entries = _read_json(path)
    if not entries:
        raise UserError(f"{path} lists no images")
    return entries


def _read_csv(path: Path, delimiter: str) -> list[Entry]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            rows = list(csv.DictReader(handle, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file in UTF-8 ({error})") from error
    return [_from_mapping(row, f"{path} line {n}", ()) for n, row in enumerate(rows, start=2)]


def _read_json(path: Path) -> list[Entry]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not a JSON file ({error})") from error
    if isinstance(content, list):
        return list(_from_list(content, "", str(path), ()))
    if not isinstance(content, dict):
        raise UserError(f'{path} must hold an object with "train", "val" and "test", or a list')
    classes = tuple(content.get("classes") or ())
    sides = {key: value for key, value in content.items() if side_name(key) in SIDES}
    if not sides:
        found = ", ".join(sorted(content)) or "nothing"
        raise UserError(f'{path} has no "train", "val" or "test" (it has {found})')
    entries: list[Entry] = []
    for key, value in sides.items():
        entries += _from_side(value, side_name(key), f"{path} {key}", classes)
    return entries


def _from_side(value: Any, side: str, where: str, classes: tuple[str, ...]) -> Iterable[Entry]:
    if isinstance(value, dict):  # class by class
        for classname, paths in value.items():
            for entry in _from_list(paths, side, where, classes):
                yield Entry(entry.path, str(classname), entry.patient, side)
    else:
        yield from _from_list(value, side, where, classes)


def _from_list(values: Any, side: str, where: str, classes: tuple[str, ...]) -> Iterable[Entry]:
    if not isinstance(values, list):
        raise UserError(f"{where} must be a list of images, not {type(values).__name__}")
    for n, value in enumerate(values):
        at = f"{where}[{n}]"
        if isinstance(value, str):
            yield Entry(_clean(value), side=side)
        elif isinstance(value, dict):
            yield _from_mapping(value, at, classes, side)
        elif isinstance(value, list) and value and isinstance(value[0], str):
            classname = str(value[2]) if len(value) > 2 else _class_of(value[1:2], classes)
            yield Entry(_clean(value[0]), classname, side=side)
        else:
            raise UserError(
                f"{at} is no image: expected a path, [path, label, classname] or object"
            )


def _class_of(label: list[Any], classes: tuple[str, ...]) -> str:
    """A class name from a label, where the file says which class a number means."""
    if not label:
        return ""
    value = label[0]
    if isinstance(value, int) or (isinstance(value, str) and value.isdigit() and classes):
        return classes[int(value)] if 0 <= int(value) < len(classes) else ""
    return str(value)


def _from_mapping(
    row: Mapping[str, Any], where: str, classes: tuple[str, ...], side: str = ""
) -> Entry:
    path = _first(row, _PATH_KEYS)
    if not path:
        raise UserError(f'{where} has no "path" (it has {", ".join(map(str, row))})')
    label: Any = next((row[key] for key in _LABEL_KEYS if row.get(key) not in (None, "")), "")
    return Entry(
        _clean(path),
        _class_of([label], classes) if label != "" else "",
        _first(row, _PATIENT_KEYS),
        side or side_name(_first(row, _SIDE_KEYS)),
    )


def _first(row: Mapping[str, Any], keys: Iterable[str]) -> str:
    return next((str(row[key]).strip() for key in keys if row.get(key) not in (None, "")), "")


def _clean(path: str) -> str:
    return path.strip().replace("\\", "/")


def _read_pickle(path: Path) -> list[Entry]:
    """Upstream's few-shot file: ``{"train": [Datum], "val": [Datum]}``, read by an allow-list."""
    from dassl.utils.safe_pickle import load_pickle

    content = load_pickle(path)
    if not isinstance(content, dict):
        raise UserError(f'{path} must hold {{"train": [...], "val": [...]}}')
    entries = []
    for key, items in content.items():
        side = side_name(str(key))
        if side not in SIDES:
            continue
        for item in items or ():
            fields = vars(item)
            entries.append(
                Entry(
                    _clean(fields.get("_impath", "")),
                    fields.get("_classname", ""),
                    fields.get("_patient_id", ""),
                    side,
                )
            )
    return entries
