"""Split files: our own record, the CoOp family's JSON, few-shot pickles, lists with a column.

``read_split_file`` says what the file says; ``place_entries`` finds its images in a data set.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cerviclip.counted import counted
from cerviclip.data.files.listed_paths import ListedPaths
from cerviclip.data.files.lists.entries import Entries, Entry
from cerviclip.data.files.lists.reading import read_list_file
from cerviclip.data.split.patient_grouped import PARTS, Item, Split, patients_on_two_parts
from dassl.errors import MissingFileError, UserError


def read_split_file(path: str | Path) -> Entries:
    """Entries of a split file, each with its part.

    Understood are JSON objects with ``train``, ``val`` and ``test`` (lists of paths, of ``[path,
    label, classname]`` as the CoOp family writes them, of objects with ``path label patient`` as we
    do, or class by class ``{class: [paths]}``), lists and tables with a ``split`` column, and
    upstream's few-shot pickles.
    """
    entries = read_list_file(path)
    for entry in entries:
        if entry.part not in PARTS:
            raise UserError(
                f'split file {path} puts {entry.path} into "{entry.part}"; '
                f"the parts are {', '.join(PARTS)}"
            )
    return entries


def place_entries(
    entries: Sequence[Entry],
    items: Sequence[Item],
    source: str,
    root: str | Path,
    folder: str | Path,
    by: str = "patient",
    rest_is_test: bool = False,
    notes: list[str] | None = None,
) -> Split:
    """The split that a file's entries describe.

    Args:
        entries: what the file says.
        items: all images of the data set.
        source: the file's name, for errors.
        root: paths in the file are relative to this folder, or to ``folder``.
        folder: the image folder, which the items' paths are relative to.
        by: "patient" refuses a patient in two parts.
        rest_is_test: images of patients that the file does not name are its test, as few-shot files
            mean it.
        notes: what the reader should know is added here.

    Raises:
        UserError: an entry points outside the root, is listed twice, contradicts its folder's
            class, or puts a patient in two parts.
        MissingFileError: entries whose files are not there.
    """
    known = {item.path: item for item in items}
    classnames = {item.classname for item in items}
    notes = [] if notes is None else notes
    paths = ListedPaths(source, known, str(root), str(folder))
    where = {entry: paths.find_entry(entry.path, entry.alone) for entry in entries}
    notes += paths.notes()
    _check_numbers(where, known, classnames, source)
    shown = _display_names(where, known)
    split: Split = {part: [] for part in PARTS}
    seen: dict[str, str] = {}
    absent = []
    for entry in entries:
        path = where[entry]
        item = known.get(path)
        if item is None:
            absent.append(entry.path)
            continue
        if path in seen:
            raise UserError(
                f"{source} lists {entry.path} twice (in {seen[path]} and {entry.part}); "
                "keep one of them"
            )
        # A number that is no folder's name says nothing that the folder could contradict.
        says = entry.classname in classnames or not entry.classname.isdigit()
        told = shown.get(entry.classname, entry.classname)
        if told and says and told != item.classname:
            raise UserError(
                f"{source} calls {entry.path} {entry.classname}, its folder says "
                f"{item.classname}; {_way_out(entry.classname, item.path, root, folder)}"
            )
        seen[path] = entry.part
        split[entry.part].append(replace(item, patient=entry.patient or item.patient))
    if absent:
        raise MissingFileError(
            f"{len(absent)} of {len(entries)} images in {source} are not among the images under "
            f"{folder} (first: {absent[0]}); check DATASET.ROOT, DATASET.FOLDER and the file"
        )
    if rest_is_test and all(entry.part != "test" for entry in entries):
        # Few-shot files name no test images: those of patients that they do not name are left.
        # The file and the data set may name patients differently: both names count.
        used = {item.patient for part in split.values() for item in part}
        used |= {known[path].patient for path in seen}
        split["test"] = [i for i in items if i.path not in seen and i.patient not in used]
        notes.append(f"it names no test images: the {len(split['test'])} of other patients are")
    left = len(items) - sum(len(part) for part in split.values())
    if left:
        notes.append(f"{left} of {len(items)} images are in no part of it")
    if by == "patient":
        check_parts(split, source)
    return split


def _way_out(classname: str, path: str, root: str | Path, folder: str | Path) -> str:
    """What to do about a class that a file and a folder call differently.

    Args:
        classname: the file's.
        path: the image's, relative to ``folder``.
        root: of the data.
        folder: the image folder.
    """
    parts = path.split("/")[:-1]
    if classname in parts[1:]:  # its class folder lies deeper: the image folder is one above
        above = Path(folder, *parts[: parts.index(classname, 1)])
        return f"set DATASET.FOLDER {os.path.relpath(above, root)}, which holds the class folders"
    return (
        "correct one of them, or give the classes their names by DATASET.CLASSES and "
        "DATASET.CLASS_MAP"
    )


def check_parts(split: Split, source: str) -> None:
    """Refuse a split with a patient in two parts."""
    crossing = patients_on_two_parts(split)
    if crossing:
        patient, parts = next(iter(crossing.items()))
        raise UserError(
            f"{source} puts {counted(len(crossing), 'patient')} in two parts (patient {patient} is "
            f"in {' and '.join(parts)}); mend the split, or accept the leak with "
            "DATASET.SPLIT_BY image"
        )


def _check_numbers(
    where: Mapping[Entry, str], known: Mapping[str, Item], classnames: set[str], source: str
) -> None:
    """Refuse labels that are numbers where one number has images of two folders."""
    first: dict[str, str] = {}
    for entry, path in where.items():
        number = entry.classname
        if path in known and number.isdigit() and number not in classnames:
            other = known[first.setdefault(number, path)].classname
            if other != known[path].classname:
                raise UserError(
                    f"{source} gives the label {number} to {first[number]} and to {path}, which "
                    f"are of {other} and {known[path].classname}; correct the labels, or leave "
                    "them out, and the folders are the classes (DATASET.FILE takes a list's own)"
                )


def _display_names(where: Mapping[Entry, str], known: Mapping[str, Item]) -> dict[str, str]:
    """The folder's class behind each name that a file shows for it; empty unless folders and names
    are one to one and no name is another folder's."""
    folders: dict[str, set[str]] = defaultdict(set)
    for entry, path in where.items():
        if entry.classname and path in known:
            folders[entry.classname].add(known[path].classname)
    classes = {item.classname for item in known.values()}
    pairs = {name: next(iter(found)) for name, found in folders.items() if len(found) == 1}
    one_to_one = len(pairs) == len(folders) == len(set(pairs.values()))
    honest = all(folder == name or name not in classes for name, folder in pairs.items())
    return pairs if one_to_one and honest else {}
