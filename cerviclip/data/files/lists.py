"""Reading lists of images: tables (CSV and the like), JSON, few-shot pickles.

Every form becomes `Entries`. What a file does not say is empty, what is in it and not used is told
in ``notes``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cerviclip.data.files.csv_rows import encoding_of
from cerviclip.data.files.folders import IMAGE_SUFFIXES
from cerviclip.data.files.names import (
    FOLDER_KEYS,
    LABEL_KEYS,
    PART_KEYS,
    PATH_KEYS,
    PATIENT_KEYS,
    SURE_PART_KEYS,
    cell,
    clean,
    header_key,
    is_number,
    part_name,
    parts_of,
    quoted,
    whole_number,
)
from cerviclip.data.split.patient_grouped import PARTS
from cerviclip.shapes import parse_json
from dassl.errors import MissingFileError, UserError

_READ = {*PATH_KEYS, *LABEL_KEYS, *PATIENT_KEYS, *PART_KEYS}  # columns that may be used
_DELIMITERS = ",;\t|"
_DIGITS = 10  # of a label's number
_FEW_PARTS = 6  # a column of more different words is no split
_TABLES = (".csv", ".tsv", ".txt", ".tab", ".lst")
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
# What our own record and the CoOp family's files hold beside the three parts.
_ABOUT = ("classes classnames ratio sources targets unlabeled train_u notes warnings").split()


@dataclass(frozen=True)
class Entry:
    """One line of a split or list file; what the file does not say is empty.

    Attributes:
        path: with the folder of a column of its own before it.
        classname: of the image.
        patient: whom it is of.
        part: of the split.
        alone: the path without that folder.
    """

    path: str
    classname: str = ""
    patient: str = ""
    part: str = ""
    alone: str = ""


class Entries(list[Entry]):
    """The entries of a file.

    Attributes:
        notes: what the reader should know of how the file was taken.
        unused: columns that were not used.
        few_shot: an upstream pickle, which names no test images.
    """

    def __init__(self, entries: Iterable[Entry] = (), few_shot: bool = False) -> None:
        super().__init__(entries)
        self.notes: list[str] = []
        self.unused: list[str] = []
        self.few_shot = few_shot


def read_list_file(path: str | Path) -> Entries:
    """Entries of a table, JSON or pickle file; ``part`` may be empty."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(
            f"there is no split or list file {path}; check DATASET.FILE or DATASET.SPLIT_FILE "
            "(looked for here, under --root and in DATASET.FOLDER)"
        )
    suffix = path.suffix.lower()
    if suffix in _SHEETS:
        raise UserError(f"{path} is a spreadsheet; save it as CSV (UTF-8) and name that file")
    if suffix in (".pkl", ".pickle"):
        entries = _read_pickle(path)
    elif suffix in _TABLES and not (suffix == ".txt" and _text(path, "list")[:1] in ("{", "[")):
        entries = _read_table(path)
    else:
        entries = _read_json(path)
    if not entries:
        raise UserError(f"{path} lists no images")
    return entries


def _text(path: Path, kind: str) -> str:
    """A file's text in UTF-8, or in UTF-16 or UTF-32 where it begins as such."""
    content = path.read_bytes()
    code = encoding_of(content[:4])
    try:
        return content.decode(code).lstrip()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not a {kind} file in UTF-8 ({error}); save it as such"
        ) from error


# -- tables ---------------------------------------------------------------------------------------


def _read_table(path: Path) -> Entries:
    return _from_rows(table_rows(path), ())


def table_rows(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Rows of a table with a column of paths, each with where it stands; empty ones are left out.

    Raises:
        UserError: no CSV, no column of paths, or a row of more cells than the head.
    """
    lines = _text(path, "CSV").splitlines()
    start, delimiter = 0, ""
    while start < len(lines) and _is_before_head(lines[start]):
        if lines[start].lower().startswith("sep="):
            delimiter = lines[start][4:5]
        start += 1
    if start == len(lines):
        return []
    delimiter = delimiter or _delimiter_of(lines[start])
    try:
        rest = (f"{line}\n" for line in lines[start:])  # a cell in quotes may hold several lines
        table = list(csv.reader(rest, delimiter=delimiter, skipinitialspace=True))
    except (csv.Error, TypeError, ValueError) as error:  # these of a sign that cannot part cells
        raise UserError(f"{path} is not a CSV file ({error})") from error
    head = [text.strip() for text in table[0]]
    _refuse_twin_columns(path, head)
    if not any(header_key(name) in PATH_KEYS for name in head):
        raise UserError(
            f"{path} line {start + 1} has no column of paths (it has {', '.join(head)}); such a "
            f"column is called {', '.join(PATH_KEYS[:8])}, that of the classes "
            f"{', '.join(LABEL_KEYS[:4])}"
        )
    twice = sorted({name for name in head if name and head.count(name) > 1})
    if twice:
        raise UserError(
            f"{path} line {start + 1} has {quoted(twice)} as the head of several columns; keep one"
        )
    rows = []
    for n, cells in enumerate(table[1:], start=start + 2):
        if not any(text.strip() for text in cells) or _is_comment(cells, f"{path} line {n}"):
            continue
        if any(text.strip() for text in cells[len(head) :]):
            raise UserError(
                f"{path} line {n} has {len(cells)} cells, its head {len(head)}; put names that "
                f'hold "{delimiter}" in quotes'
            )
        rows.append((f"{path} line {n}", dict(zip(head, cells, strict=False))))
    return rows


def _is_comment(cells: Sequence[str], where: str) -> bool:
    """Whether a row is a comment.

    Raises:
        UserError: it may as well be an image whose name begins with "#".
    """
    if not cells[0].startswith("#"):
        return False
    if any(text.strip().lower().endswith(IMAGE_SUFFIXES) for text in cells):
        raise UserError(
            f'{where} begins with "#" and names an image; write ./# where a name begins so, and '
            "take the line out where it is a comment"
        )
    return True


def _refuse_twin_columns(path: Path, head: Sequence[str]) -> None:
    """Refuse two columns of one name, of which only one could count."""
    names = [name for name in head if header_key(name) in _READ]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f'{path} has the column "{twice}" twice; rename one or take it out')


def read_pairs(path: Path, part: str) -> Entries:
    """Entries of lines "path label" without a head; a path may hold blanks, a label may not.

    Raises:
        UserError: a line has no label, or the file is not text in UTF-8.
    """
    entries = Entries()
    for n, line in enumerate(_text(path, "list").splitlines(), start=1):
        if not line.strip():
            continue
        pair = line.strip().rsplit(maxsplit=1)
        if len(pair) < 2:
            raise UserError(f'{path} line {n} is "{line.strip()}"; a line is "path label"')
        entries.append(Entry(clean_path(pair[0]), pair[1], part=part))
    return entries


def _is_before_head(line: str) -> bool:
    return not line.strip() or line.startswith("#") or line.lower().startswith("sep=")


def _delimiter_of(head: str) -> str:
    """The sign that parts a head in which a column of paths is found."""
    for sign in _DELIMITERS:
        if sign in head and any(header_key(c.strip('" ')) in PATH_KEYS for c in head.split(sign)):
            return sign
    return max(_DELIMITERS, key=head.count)


# -- rows with named fields -----------------------------------------------------------------------


def _from_rows(
    rows: Sequence[tuple[str, Mapping[Any, Any]]], classes: tuple[str, ...], part: str = ""
) -> Entries:
    """Entries of rows of named fields, each with where it stands."""
    _refuse_nested(rows)
    columns = {name: header_key(name) for _, row in rows for name in row}
    _refuse_columns_alike(rows, columns)
    labels = _label_columns(rows, columns, classes)
    people = [key for key in PATIENT_KEYS if key in columns.values()]
    part_key = _part_column(rows, columns)
    words = {cell(row.get(n)) for n, k in columns.items() if k == part_key for _, row in rows}
    part_of = parts_of(words)
    if rows:
        _refuse_two_words(part_of, rows[0][0])
    used = [*PATH_KEYS, *people, *FOLDER_KEYS, part_key]
    truth = "" if words - {""} else _truth_column(rows, columns)
    used += [truth] if truth else []
    hot = [] if labels else _one_hot(rows, [n for n, k in columns.items() if k and k not in used])
    entries = Entries()
    for where, row in rows:
        by_key = {columns[name]: row[name] for name in reversed(list(row))}
        path = _first(by_key, PATH_KEYS)
        if not path:
            raise UserError(f'{where} has no "path" (it has {", ".join(map(str, row))})')
        label = next((text for name in labels if (text := cell(row.get(name)))), "")
        label = next((clean(name) for name in hot if _is_true(row[name])), label)
        told = cell(by_key.get(part_key))
        if truth:
            told = _TRUTH_PARTS[truth][not _is_true(by_key[truth])]
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
    if part_key not in PART_KEYS:
        name = next(name for name, key in columns.items() if key == part_key)
        entries.notes.append(f"the column {name} gives the split")
    labels += hot
    unused = [str(n) for n, k in columns.items() if k and n not in labels and k not in used]
    if unused:
        entries.notes.append(f"columns that are not used: {', '.join(unused)}")
        entries.unused = unused
    return entries


def _refuse_columns_alike(
    rows: Sequence[tuple[str, Mapping[Any, Any]]], columns: Mapping[Any, str]
) -> None:
    """Refuse two columns whose names are one, "Patient" and "Patient #", where they disagree."""
    names: dict[str, list[Any]] = {}
    for name, key in columns.items():
        names.setdefault(key, []).append(name)
    for key, several in names.items():
        if len(several) < 2 or key not in _READ or key in LABEL_KEYS:  # labels are compared anyway
            continue
        for where, row in rows:
            if len({text for name in several if (text := cell(row.get(name)))}) > 1:
                raise UserError(
                    f"{where}: the columns {quoted(map(str, several))} mean the same and say two "
                    "things; keep one of them"
                )


def _refuse_nested(rows: Sequence[tuple[str, Mapping[Any, Any]]]) -> None:
    """Refuse a list or an object where a path or a name is meant; as text it would be a class."""
    for where, row in rows:
        for name, value in row.items():
            if isinstance(value, (list, dict)) and header_key(name) in _READ:
                raise UserError(f'{where}: "{name}" is one text, not {type(value).__name__}')


def _part_column(rows: Sequence[tuple[str, Mapping[Any, Any]]], columns: Mapping[Any, str]) -> str:
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
    others = [key for key in words if key not in (*PART_KEYS, *_READ)]
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


# What a column that says yes or no of a part means: yes, no.
_TRUTH_PARTS = {
    **dict.fromkeys(("istrain", "istraining", "train", "training"), ("train", "test")),
    **dict.fromkeys(("istest", "istesting", "test", "testing"), ("test", "train")),
}
_TRUE, _FALSE = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}


def _is_true(value: Any) -> bool:
    return cell(value).casefold() in _TRUE


def _truth_column(rows: Sequence[tuple[str, Mapping[Any, Any]]], columns: Mapping[Any, str]) -> str:
    """The key of a column that says yes or no of one part in each row; "" without such a one."""
    for name, key in columns.items():
        said = {cell(row.get(name)).casefold() for _, row in rows}
        if key in _TRUTH_PARTS and said <= _TRUE | _FALSE and said & _TRUE and said & _FALSE:
            return key
    return ""


def _one_hot(rows: Sequence[tuple[str, Mapping[Any, Any]]], names: list[Any]) -> list[Any]:
    """Columns of which each row has 1 in one and 0 in all others; [] if there are no such."""
    hot = [
        name
        for name in names
        if {cell(row.get(name)) for _, row in rows} <= {"0", "1", "0.0", "1.0"}
    ]
    if len(hot) < 2 or any(sum(_is_true(row[name]) for name in hot) != 1 for _, row in rows):
        return []
    return hot


def _label_columns(
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


def class_of(label: list[Any], classes: tuple[str, ...]) -> str:
    """A class name from a label; a number names one of ``classes`` where the file has them."""
    text = cell(label[0]) if label else ""
    if is_number(text):
        text = text.partition(".")[0]  # 0.0 is what a table with a gap makes of 0
        if classes:
            number = int(text) if len(text) < _DIGITS else len(classes)
            if number >= len(classes):
                raise UserError(
                    f'a label is {text[:_DIGITS]}, and "classes" has {len(classes)} names, from 0 '
                    f"to {len(classes) - 1}; correct one of them"
                )
            return classes[number]
    return text


def _first(row: Mapping[str, Any], keys: Iterable[str]) -> str:
    return next((text for key in keys if (text := cell(row.get(key)))), "")


def clean_path(path: str) -> str:
    """A path with forward slashes."""
    return str(path).strip().replace("\\", "/")


# -- JSON and pickles -----------------------------------------------------------------------------


def _read_json(path: Path) -> Entries:
    text = _text(path, "JSON")
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
    _refuse_two_words({key: part for key, part in parts.items() if content[key]}, str(path))
    _refuse_mixed_labels([content[key] for key in parts], path)
    entries = Entries()
    for key, value in parts.items():
        listed = _from_part(content[key], value, f"{path} {key}", classes)
        entries += listed
        entries.notes += [note for note in listed.notes if note not in entries.notes]
    return entries


def _refuse_two_words(parts: Mapping[str, str], where: str) -> None:
    """Refuse two words for one part, "test" beside "holdout": one may have been kept aside."""
    for part in PARTS:
        words = {header_key(word): word for word, of in parts.items() if of == part}
        if len(words) > 1:
            raise UserError(
                f"{where}: {quoted(sorted(words.values()))} both mean {part}; write one word for "
                "them, or take one out"
            )


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
        return _from_rows(rows, classes, part)
    entries = Entries()
    for n, value in enumerate(values):
        at = f"{where}[{n}]"
        if isinstance(value, str):
            entries.append(Entry(clean_path(value), part=part))
        elif isinstance(value, dict):
            entries += _from_rows([(at, value)], classes, part)
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


def _read_pickle(path: Path) -> Entries:
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
