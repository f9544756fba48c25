"""Reading split files: our own record, the CoOp family's JSON, few-shot pickles, plain lists.

``read_split_file`` says what the file says; ``place_entries`` finds its images in a data set.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dassl.errors import MissingFileError, UserError

from cerviclip.data.splits import SIDES, Item, Split, patients_on_two_sides

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
    """A class name from a label; a number names one of ``classes`` where the file has them."""
    if not label:
        return ""
    value = label[0]
    if classes and (isinstance(value, int) or (isinstance(value, str) and value.isdigit())):
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
    from dassl.data.datasets.fewshot_pickle import load_fewshot_pickle

    return [
        Entry(_clean(item.impath), item.classname, item.patient_id, side_name(part))
        for part, items in load_fewshot_pickle(path).items()
        for item in items
    ]


def place_entries(
    entries: Sequence[Entry],
    items: Sequence[Item],
    source: str,
    root: str | Path,
    folder: str | Path,
    by: str = "patient",
) -> Split:
    """The split that a file's entries describe.

    Args:
        entries: what the file says.
        items: all images of the data set.
        source: the file's name, for errors.
        root: paths in the file are relative to this folder, or to ``folder``.
        folder: the image folder, which the items' paths are relative to.
        by: "patient" refuses a patient on two sides.

    Raises:
        UserError: an entry points outside the root, is listed twice, contradicts its folder's
            class, or puts a patient on two sides.
        MissingFileError: entries whose files are not there.
    """
    known = {item.path: item for item in items}
    classnames = {item.classname for item in items}
    split: Split = {side: [] for side in SIDES}
    seen: dict[str, str] = {}
    absent = []
    for entry in entries:
        path = relative_to_folder(entry.path, source, known, str(root), str(folder))
        item = known.get(path)
        if item is None:
            absent.append(entry.path)
            continue
        if path in seen:
            raise UserError(
                f"{source} lists {entry.path} twice (in {seen[path]} and {entry.side}); "
                "keep one of them"
            )
        # A number that is no folder's name says nothing that the folder could contradict.
        says = entry.classname in classnames or not entry.classname.isdigit()
        if entry.classname and says and entry.classname != item.classname:
            raise UserError(
                f"{source} calls {entry.path} {entry.classname}, its folder says "
                f"{item.classname}; correct one of them"
            )
        seen[path] = entry.side
        split[entry.side].append(replace(item, patient=entry.patient or item.patient))
    if absent:
        raise MissingFileError(
            f"{len(absent)} of {len(entries)} images in {source} are not among the images under "
            f"{folder} (first: {absent[0]}); check DATASET.ROOT and the file"
        )
    if all(entry.side != "test" for entry in entries):
        # Few-shot files name no test images: those of patients that they do not name are left.
        # The file and the data set may name patients differently: both names count.
        used = {item.patient for side in split.values() for item in side}
        used |= {known[path].patient for path in seen}
        split["test"] = [i for i in items if i.path not in seen and i.patient not in used]
    if by == "patient":
        check_sides(split, source)
    return split


def check_sides(split: Split, source: str) -> None:
    """Refuse a split with a patient on two sides."""
    crossing = patients_on_two_sides(split)
    if crossing:
        patient, sides = next(iter(crossing.items()))
        raise UserError(
            f"{source} puts {len(crossing)} patients on two sides (patient {patient} is in "
            f"{' and '.join(sides)}); mend the split, or accept the leak with "
            "DATASET.SPLIT_BY image"
        )


def relative_to_folder(
    path: str, source: str, known: Container[str], root: str, folder: str
) -> str:
    """A listed path as it is relative to the image folder.

    Absolute paths (few-shot pickles hold those of another machine) are known by their last two
    parts, class folder and file name.
    """
    if path in known:
        return path
    for base in (root, folder):
        inside = os.path.relpath(os.path.normpath(os.path.join(base, path)), folder)
        if inside.replace(os.sep, "/") in known:
            return inside.replace(os.sep, "/")
    if os.path.isabs(path):
        tail = "/".join(path.split("/")[-2:])
        if tail in known:
            return tail
    if not Path(os.path.normpath(os.path.join(root, path))).is_relative_to(root):
        raise UserError(
            f"{source} points outside the data's root {root}: {path}; "
            "its paths must lie under DATASET.ROOT"
        )
    return path
