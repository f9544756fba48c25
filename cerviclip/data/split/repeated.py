"""Somebody else's split and draw, repeated exactly: ``DATASET.DRAW_FILE`` (``--split FILE``).

The file is a run's ``split.json`` or one of a published set, which also has a hash of each image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import isfile, join
from pathlib import Path
from typing import Any

from cerviclip.data.split.files import place_entries, read_split_file
from cerviclip.data.split.patient_grouped import PARTS, Item, Split, hash_of
from cerviclip.data.split.record import read_split_record
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, is_file

IMAGES = "images"  # of a published file: path -> start of the sha256 of its bytes
DIGITS = 16  # of a hash
_NEEDED = ("dataset", "shots", "draw_seed", "hash", "draw_hash", *PARTS)


def read_record(path: str | Path) -> dict[str, Any]:
    """A split's record, with all that repeats it.

    Raises:
        UserError: no such file, or one that does not say all of a split and its draw.
    """
    path = at_home(path)
    if not is_file(path):
        raise MissingFileError(f"there is no split {path}; give a run's split.json (--split)")
    try:
        record = read_split_record(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no split in JSON ({error})") from error
    lacking = [key for key in _NEEDED if record.get(key) is None]
    if lacking:
        raise UserError(
            f"{path} does not say its {', '.join(lacking)}, so it cannot be repeated exactly; take "
            "a run's split.json, or use it as DATASET.SPLIT_FILE, which draws shots anew"
        )
    if "sources" in record:
        raise UserError(
            f"{path} is of a data set made of centres; DATASET.FOLD, CENTERS and SEED repeat it"
        )
    return record


def repeat_split(
    path: Path, record: Mapping[str, Any], items: Sequence[Item], root: str, folder: str | Path
) -> Split:
    """The parts of a record, each image in its place, in the record's order.

    Args:
        path: the record's file.
        record: of ``read_record``.
        items: all images of the data set.
        root: what the record's paths are relative to.
        folder: the image folder, which the items' paths are relative to.

    Raises:
        UserError: images are missing, or their content differs, with the count.
    """
    check_same_images(path, record, root)
    by = "image" if record.get("by") == "image" else "patient"
    return place_entries(read_split_file(path), items, str(path), root, folder, by)


def check_same_images(path: Path, record: Mapping[str, Any], root: str) -> None:
    """Refuse images that are not there, or have other bytes than the record says."""
    from cerviclip.data.files.hashes import image_hashes  # brings torch, which a plan does without

    listed = [row["path"] for part in PARTS for row in record[part]]
    absent = [name for name in listed if not isfile(join(root, name))]
    hashes, cache = record.get(IMAGES) or {}, image_hashes()
    there = [name for name in listed if name in hashes and name not in set(absent)]
    other = [n for n in there if cache.sha256(Path(root) / n)[:DIGITS] != hashes[n]]
    cache.flush()
    if absent or other:
        first = (absent or other)[0]
        raise UserError(
            f"{len(absent) + len(other)} of {len(listed)} images differ from those of {path}: "
            f"{len(absent)} are missing below {root}, {len(other)} have another content (first: "
            f"{first}); take the same release of the data"
        )


def draw_hash_of(split_hash: str, drawn: Mapping[str, Sequence[Item]]) -> str:
    """Hash of a draw: the split's and what is trained and validated on, in order."""
    return hash_of(
        [split_hash, *([[i.path, i.classname] for i in drawn[part]] for part in ("train", "val"))]
    )


def hash_of_test_part(drawn: Mapping[str, Sequence[Item]]) -> str:
    """Hash of what is tested on, in order; files older than 2026-11-27 have none."""
    return hash_of([[i.path, i.classname] for i in drawn["test"]])


def hash_of_rows(parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Hash of the rows of a split that joins several: those of their draws are of more images."""
    columns = ("path", "label", "patient", "domain")
    return hash_of([[[row.get(key) for key in columns] for row in parts[p]] for p in PARTS])


def check_draw_hash(path: Path, record: Mapping[str, Any], drawn: Split) -> None:
    """Refuse a file whose rows are not those that its hashes are of: somebody has changed it."""
    if record.get("test_hash", hash_of_test_part(drawn)) != hash_of_test_part(drawn):
        raise UserError(
            f"{path} does not hold the test images of its test_hash {record['test_hash'][:12]}; "
            "take the file as it was published"
        )
    if draw_hash_of(record["hash"], drawn) != record["draw_hash"]:
        raise UserError(
            f"{path} does not hold the draw of its draw_hash {record['draw_hash'][:12]}: paths, "
            "classes or their order differ; take the file as it was published"
        )
