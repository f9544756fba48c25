"""``flow``: how many images and patients a run has seen, left out, split and used, and why.

Of each source (the training's data set and each external centre) the numbers add up:
``seen = excluded + all parts`` and ``a part = used + not_drawn``. ``leaks`` holds what was looked
for before training, zeros included.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cerviclip.data.files.copies import across_parts
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.split.patient_grouped import PARTS, patients_on_two_parts
from dassl.data.datasets.base_dataset import DatasetBase, Datum

TRAINING, EXTERNAL = "training", "external"
UNUSED = "in no part of the split"
OTHER_CLASSES = "of classes set aside (DATASET.SUBSAMPLE_CLASSES)"
NOT_TESTED = "of a part or class that is not tested here"
NOT_OF_RUN = "not drawn, or of a part or centre that this run does not use"
NO_PATIENTS = "the data set names no patients"
NOT_LOOKED = "a data set of another kind, in which copies are not looked for"

Row = tuple[str, str]  # class name, patient; "" where nobody knows the patient


def flow_of(dataset: DatasetBase, external: Mapping[str, Sequence[Datum]]) -> dict[str, Any]:
    """The block ``flow`` of results.json.

    Args:
        dataset: the training's, whose ``center_sources`` and ``center_checks`` were set as its
            external centres were built.
        external: items by centre's name, as they are tested.
    """
    name = type(dataset).__name__
    sources = {name: _training(dataset)}
    built = getattr(dataset, "center_sources", {})
    sources |= {c: _external(built.get(c), items) for c, items in external.items()}
    return {"sources": sources, "leaks": _leaks(dataset)}


def _training(dataset: DatasetBase) -> dict[str, Any]:
    lists = {"train": dataset.train_x, "val": dataset.val, "test": dataset.test}
    used = {part: _rows(items or ()) for part, items in lists.items()}
    if dataset.train_u:
        used["unlabelled"] = _rows(dataset.train_u)
    if not isinstance(dataset, ImagingDataset):
        return _of_lists(dataset, used)
    split = {part: _item_rows(dataset, dataset.full_split[part]) for part in PARTS}
    read = _item_rows(dataset, dataset.images_read)
    aside = set(dataset.classes_set_aside)
    others = [row for row in read if row[0] in aside]
    kept = [row for row in read if row[0] not in aside]
    rest = _minus(kept, [row for rows in split.values() for row in rows])
    unused = [*_entry(OTHER_CLASSES, others), *_entry(UNUSED, rest)]
    return _source(TRAINING, dataset, read, _left_out(dataset), unused, split, used)


def _of_lists(dataset: DatasetBase, used: Mapping[str, list[Row]]) -> dict[str, Any]:
    """Of a data set that is not read by us; of one of several centres each of them is read."""
    centers: Mapping[str, ImagingDataset] = getattr(dataset, "datasets_of_centers", {})
    everything = [row for rows in used.values() for row in rows]
    if not centers:
        return _source(TRAINING, dataset, everything, [], [], used, used)
    read, left_out = [], []
    for center, own in centers.items():
        read += _item_rows(own, own.images_read)
        left_out += [entry | {"center": center} for entry in _left_out(own)]
    split = {part: rows for part, rows in used.items() if part != "unlabelled"}
    rest = _minus(read, [row for rows in split.values() for row in rows])
    return _source(TRAINING, dataset, read, left_out, _entry(NOT_OF_RUN, rest), split, used)


def _external(built: Any, items: Sequence[Datum]) -> dict[str, Any]:
    """An external centre, all of whose used images are tested."""
    tested = {"test": _rows(items)}
    if not isinstance(built, ImagingDataset):
        return _source(EXTERNAL, built, tested["test"], [], [], tested, tested)
    read = _item_rows(built, built.images_read)
    # Its classes may have been given the training's names, so patients alone tell rows apart.
    rest = len(read) - len(items)
    unused = [{"reason": NOT_TESTED, "images": rest, "patients": None}] if rest else []
    return _source(EXTERNAL, built, read, _left_out(built), unused, tested, tested)


def _source(
    role: str,
    dataset: Any,
    read: Sequence[Row],
    left_out: list[dict[str, Any]],
    unused: list[dict[str, Any]],
    split: Mapping[str, Sequence[Row]],
    used: Mapping[str, Sequence[Row]],
) -> dict[str, Any]:
    """A source's entry; ``left_out`` was never read, ``unused`` was read and is in no part."""
    seen = _count(read)
    seen["images"] += sum(entry["images"] for entry in left_out)
    drawn = {part: len(used.get(part, ())) for part in split}
    return {
        "role": role,
        "seen": seen,
        "excluded": left_out + unused,
        "parts": {part: _counts(rows) for part, rows in split.items()},
        "used": {part: _counts(rows) for part, rows in used.items()},
        "not_drawn": {part: len(rows) - drawn[part] for part, rows in split.items()},
        "notes": list(getattr(dataset, "notes", None) or []),
    }


def _left_out(dataset: ImagingDataset) -> list[dict[str, Any]]:
    """Files that the scan found and did not take; their patients were never asked for."""
    entries = [
        {"reason": f"left out by {why}", "images": len(files), "patients": None,
         "example": files[0]}
        for why, files in dataset.skipped.left_out.items()
        if files
    ]  # fmt: skip
    for folder, suffixes in dataset.skipped.unread_pictures().items():
        entries += [
            {"reason": f"{suffix} files are not read", "images": count, "patients": None,
             "example": folder}
            for suffix, count in suffixes.items()
        ]  # fmt: skip
    return entries


def _entry(reason: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [{"reason": reason, **_count(rows)}] if rows else []


def _rows(items: Iterable[Datum]) -> list[Row]:
    return [(item.classname, str(getattr(item, "patient_id", "") or "")) for item in items]


def _item_rows(dataset: ImagingDataset, items: Iterable[Any]) -> list[Row]:
    known = dataset.patients_known
    return [(item.classname, item.patient if known else "") for item in items]


def _minus(rows: Sequence[Row], others: Iterable[Row]) -> list[Row]:
    return list((Counter(rows) - Counter(others)).elements())


def _count(rows: Sequence[Row]) -> dict[str, Any]:
    """Images and patients; null where nobody knows the patients."""
    known = bool(rows) and all(patient for _, patient in rows)
    patients = len({patient for _, patient in rows}) if known else None
    return {"images": len(rows), "patients": patients if rows else 0}


def _counts(rows: Sequence[Row]) -> dict[str, Any]:
    classes: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        classes[row[0]].append(row)
    return _count(rows) | {"per_class": {name: _count(own) for name, own in classes.items()}}


# -- leaks --------------------------------------------------------------------------------------


def _leaks(dataset: DatasetBase) -> dict[str, Any]:
    """What was looked for, and how often it was found; null with a reason where it was not."""
    lists = {"train": dataset.train_x, "val": dataset.val, "test": dataset.test}
    places: dict[str, set[str]] = defaultdict(set)
    patients: dict[str, set[str]] = defaultdict(set)
    for part, items in lists.items():
        for item in items or ():
            places[item.impath].add(part)
            patients[str(getattr(item, "patient_id", "") or "")].add(part)
    found: dict[str, Any] = {
        "images_in_two_parts": {"count": sum(len(parts) > 1 for parts in places.values())},
        "patients_in_two_parts": {"count": None, "reason": NO_PATIENTS}
        if "" in patients
        else {"count": sum(len(parts) > 1 for parts in patients.values())},
        "copies_in_two_parts": {"count": None, "reason": NOT_LOOKED},
    }
    if isinstance(dataset, ImagingDataset):
        if dataset.patients_known:  # also of images that the draw has not taken
            crossing = len(patients_on_two_parts(dataset.full_split))
            found["patients_in_two_parts"] = {"count": crossing}
        copies = across_parts(dataset.found_copies, dataset.full_split)
        found["copies_in_two_parts"] = {"count": len(copies)}
    checks = getattr(dataset, "center_checks", {})
    return found | {"centers": {name: dict(check) for name, check in checks.items()}}
