"""A data set's split as files for others: JSON, or train, val and test folders of class folders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerviclip.data.split.patient_grouped import PARTS
from dassl.data.datasets.base_dataset import DatasetBase, Datum
from dassl.errors import UserError
from dassl.paths import exists
from dassl.utils.files import atomic_write

FILE = "split.json"


def write_json(dataset: Any, path: Path) -> Path:
    """The split's record, which ``DATASET.SPLIT_FILE`` and ``--split`` read."""
    if exists(path):
        raise UserError(f"{path} is there already; name another file or folder by --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as handle:
        json.dump(dataset.split_record, handle, indent=1, ensure_ascii=False)
        handle.write("\n")
    return path


def write_folders(dataset: DatasetBase, folder: Path, link: bool = False) -> None:
    """``<folder>/train|val|test/<class>/<image>`` and ``split.json``.

    Files keep their names; where two of a class have the same name, folders come before it, as
    ``a__1.png``.

    Args:
        dataset: with its split.
        folder: empty or not there.
        link: make symbolic links instead of copies.
    """
    check_outside(dataset, folder)
    if exists(folder) and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; name a new folder by --out")
    parts = dict(zip(PARTS, (dataset.train_x, dataset.val or [], dataset.test), strict=True))
    for part, items in parts.items():
        for source, target in targets(items, folder / part):
            target.parent.mkdir(parents=True, exist_ok=True)
            if link:
                os.symlink(os.path.abspath(source), target)
            else:
                shutil.copy2(source, target)
    write_json(dataset, folder / FILE)


def check_outside(dataset: Any, folder: Path) -> None:
    """Refuse to write images where the data set would read them next time."""
    images = getattr(dataset, "image_dir", None)
    if images and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(images)):
        raise UserError(
            f"{folder} lies in {images}, whose images it is made of, and would be read as one of "
            "its classes; name a folder elsewhere by --out"
        )


def targets(items: Sequence[Datum], folder: Path) -> list[tuple[str, Path]]:
    """Each image with the file that it becomes; no two become the same."""
    taken: dict[Path, str] = {}
    for item in sorted(items, key=lambda item: item.impath):
        source = Path(item.impath)
        name = item.classname.replace("/", "_").replace("\\", "_").strip() or "_"
        target, above = folder / name / source.name, list(source.parts[1:-1])
        while target in taken:
            if not above:
                raise UserError(f"{item.impath} and {taken[target]} would both be {target}")
            target = target.with_name(f"{above.pop()}__{target.name}")
        taken[target] = item.impath
    return [(source, target) for target, source in taken.items()]
