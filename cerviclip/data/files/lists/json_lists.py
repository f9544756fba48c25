"""Lists in JSON, and the few-shot pickles of upstream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cerviclip.data.files.folders import IMAGE_SUFFIXES
from cerviclip.data.files.lists.entries import (
    Entries,
    Entry,
    class_of,
    clean_path,
    refuse_two_words,
    text_of,
)
from cerviclip.data.files.lists.rows import from_rows
from cerviclip.data.files.names import (
    PATH_KEYS,
    cell,
    header_key,
    is_number,
    part_name,
    parts_of,
    whole_number,
)
from cerviclip.data.split.patient_grouped import PARTS
from cerviclip.shapes import parse_json
from dassl.errors import UserError

# What our own record and the CoOp family's files hold beside the three parts.
_ABOUT = ("classes classnames ratio sources targets unlabeled train_u notes warnings").split()


def read_json(path: Path) -> Entries:
    text = text_of(path, "JSON")
    try:
        if path.suffix.lower() == ".jsonl":
            content: Any = [parse_json(line) for line in text.splitlines() if line.strip()]
        else:
            content = parse_json(text)
    except ValueError as error:
        raise UserError(
            f"{path} is not a JSON file ({error}); lists are CSV, JSON, JSON lines or pickles"
        ) from error
    if isinstance(content, list):
        _refuse_mixed_labels([content], path)
        return _from_list(content, "", str(path), ())
    if not isinstance(content, dict):
        raise UserError(f'{path} must hold an object with "train", "val" and "test", or a list')
    classes = content.get("classes") or ()
    if not isinstance(classes, (list, tuple)) or not all(isinstance(c, str) for c in classes):
        raise UserError(f'{path}: "classes" is a list of names in label order')
    classes = tuple(classes)
    parts = parts_of(content)
    if not parts and _holds_labels(content):
        return _from_list([list(pair) for pair in content.items()], "", str(path), classes)
    if not parts:
        found = ", ".join(sorted(content)[:6]) or "nothing"
        found += f" and {len(content) - 6} more" if len(content) > 6 else ""
        way = ""
        if {"images", "annotations"} <= content.keys():
            way = "; it looks like COCO's form: write its images and classes as CSV, path,label"
        raise UserError(f'{path} has no "train", "val" or "test" (it has {found}){way}')
    for key, value in content.items():
        if key not in parts and key not in _ABOUT and _holds_images(value):
            raise UserError(
                f'{path} has a part "{key}" with {len(value)} entries, which is none of '
                f"{', '.join(PARTS)}; rename it or take it out"
            )
    refuse_two_words({key: part for key, part in parts.items() if content[key]}, str(path))
    _refuse_mixed_labels([content[key] for key in parts], path)
    entries = Entries()
    for key, value in parts.items():
        listed = _from_part(content[key], value, f"{path} {key}", classes)
        entries += listed
        entries.notes += [note for note in listed.notes if note not in entries.notes]
    return entries


def _refuse_mixed_labels(lists: Iterable[Any], path: Path) -> None:
    """Refuse ``[path, label, classname]`` where one label stands for two class names; the same
    label everywhere says nothing."""
    data = (value for values in lists if isinstance(values, list) for value in values)
    triples = [
        (whole_number(cell(value[1])), cell(value[2]), value[0])
        for value in data
        if _is_datum(value) and len(value) > 2
    ]
    if len({label for label, _, _ in triples} - {""}) < 2:
        return
    names: dict[str, tuple[str, str]] = {}
    for label, name, image in triples:
        first, other = names.setdefault(label, (name, image))
        if label and name and first != name:
            raise UserError(
                f'{path} gives the label {label} to "{first}" ({other}) and to "{name}" ({image}); '
                "correct the labels or the names"
            )


def _holds_labels(content: Mapping[str, Any]) -> bool:
    """Whether a file maps images to labels."""
    return bool(content) and all(
        key.lower().endswith(IMAGE_SUFFIXES) and isinstance(value, (str, int))
        for key, value in content.items()
    )


def _holds_images(value: Any) -> bool:
    """Whether a value of a split file is a part with images in it."""
    if isinstance(value, dict):
        return any(isinstance(inner, list) and _holds_images(inner) for inner in value.values())
    if not isinstance(value, list) or not value:
        return False
    first = value[0]
    if isinstance(first, dict):
        return any(header_key(key) in PATH_KEYS for key in first)
    first = first[0] if isinstance(first, list) and first else first
    return isinstance(first, str) and first.lower().endswith(IMAGE_SUFFIXES)


def _from_part(value: Any, part: str, where: str, classes: tuple[str, ...]) -> Entries:
    if not isinstance(value, dict):
        return _from_list(value, part, where, classes)
    entries = Entries()  # class by class
    for key, paths in value.items():
        classname = class_of([key], classes)
        for entry in _from_list(paths, part, where, classes):
            own = entry.classname
            if own and own != classname and not (is_number(own) or is_number(classname)):
                raise UserError(
                    f'{where} has {entry.path} below "{classname}" and calls it "{own}"; correct '
                    "one of them"
                )
            name = own if own and is_number(classname) else classname
            entries.append(replace(entry, classname=name, part=part))
    return entries


def _from_list(values: Any, part: str, where: str, classes: tuple[str, ...]) -> Entries:
    if not isinstance(values, list):
        raise UserError(f"{where} must be a list of images, not {type(values).__name__}")
    if values and all(isinstance(value, dict) for value in values):
        rows = [(f"{where}[{n}]", value) for n, value in enumerate(values)]
        return from_rows(rows, classes, part)
    entries = Entries()
    for n, value in enumerate(values):
        at = f"{where}[{n}]"
        if isinstance(value, str):
            entries.append(Entry(clean_path(value), part=part))
        elif isinstance(value, dict):
            entries += from_rows([(at, value)], classes, part)
        elif _is_datum(value):
            classname = cell(value[2]) if len(value) > 2 else class_of(value[1:2], classes)
            entries.append(Entry(clean_path(value[0]), classname, part=part))
        else:
            raise UserError(
                f"{at} is no image: expected a path, [path, label, classname] or object"
            )
    return entries


def _is_datum(value: Any) -> bool:
    """Whether a value is ``[path, label, classname]`` or the start of it."""
    if not (isinstance(value, list) and value and isinstance(value[0], str)):
        return False
    return not any(isinstance(part, (list, dict)) for part in value[1:3])


def read_pickle(path: Path) -> Entries:
    """Upstream's few-shot file: ``{"train": [Datum], "val": [Datum]}``, read by an allow-list."""
    from dassl.data.datasets.fewshot_pickle import load_fewshot_pickle

    parts = load_fewshot_pickle(path)
    return Entries(
        (
            Entry(clean_path(item.impath), cell(item.classname), item.patient_id, part_name(name))
            for name, items in parts.items()
            for item in items
        ),
        few_shot=True,
    )
