"""The files and folders that a configuration names: where they are, and what is in them.

A configuration's hash holds no path, so what a path leads to must stand in for it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cerviclip.data.texts.descriptions import find_descriptions
from cerviclip.runs.settings.folders import file_in, without_file
from dassl.paths import at_home, is_dir, is_file

BACKBONE = "MODEL.BACKBONE.NAME"
FURTHER_BACKBONES = "TRAINER.FEATURECOMBINATION.BACKBONES"  # NAME or NAME=FILE


def named_files(flat: Mapping[str, Any]) -> dict[str, Path | None]:
    """The file behind each key that names one; None where there is no such file.

    Looked for where those who read the file look for it.

    Args:
        flat: a configuration by dotted keys.
    """
    root = at_home(str(flat.get("DATASET.ROOT") or "."))
    folder = root / at_home(str(flat.get("DATASET.FOLDER") or ""))
    here = Path()
    places = {
        "MODEL.INIT_WEIGHTS": [here],
        "DATASET.SPLIT_FILE": [here, root, folder],
        "DATASET.FILE": [folder, root, here],
        "DATASET.DRAW_FILE": [here],
        "TRAINER.CLIVP.REPORTS": [here],
    }
    places |= {key: [here] for key in flat if key.endswith(".ROI.CHECKPOINT")}
    found: dict[str, Path | None] = {}
    for key, bases in places.items():
        if flat.get(key):
            path = at_home(str(flat[key]))
            found[key] = next((b / path for b in bases if is_file(b / path)), None)
    if descriptions := flat.get("DATASET.DESCRIPTIONS"):
        found["DATASET.DESCRIPTIONS"] = find_descriptions(str(descriptions))
    if file := file_in(str(flat.get(BACKBONE) or "")):
        found[BACKBONE] = Path(file)
    return found


def further_backbones(flat: Mapping[str, Any]) -> dict[str, tuple[str, Path | None]]:
    """Each entry of `FURTHER_BACKBONES`: its name without a path, and the file that it names."""
    found = {}
    for text in flat.get(FURTHER_BACKBONES) or ():
        name, _, file = str(text).partition("=")
        file = os.path.expanduser(file or file_in(name))
        found[str(text)] = (without_file(name), Path(file) if file else None)
    return found


def named_folders(flat: Mapping[str, Any]) -> dict[str, Path | None]:
    """The image folder behind each key that names one; None where there is no such folder."""
    root = at_home(str(flat.get("DATASET.ROOT") or "."))
    found: dict[str, Path | None] = {}
    for key, value in flat.items():
        if value and (key == "DATASET.FOLDER" or key.startswith("DATASET.EXTERNAL_FOLDERS.")):
            path = at_home(str(value))
            found[key] = next((c for c in (root / path, path) if is_dir(c)), None)
    own = flat.get("DATASET.NAME") == "FolderDataset" and not flat.get("DATASET.FILE")
    if own and not flat.get("DATASET.FOLDER") and is_dir(root):
        found["DATASET.FOLDER"] = root  # the images lie in the root itself
    return found


def subgroup_files(specs: Sequence[str]) -> list[Path]:
    """The file of each ``FILE:column`` of ``TEST.SUBGROUPS``, whether it is there or not."""
    return [at_home(str(spec).rpartition(":")[0]) for spec in specs]


def paths_to_watch(flat: Mapping[str, Any]) -> list[str]:
    """Every path whose size or time changes when what the configuration names changes.

    A file that is named and not found is among them, as it is named.
    """
    paths = [path or Path(str(flat[key])) for key, path in named_files(flat).items()]
    paths += [path for _, path in further_backbones(flat).values() if path is not None]
    for folder in named_folders(flat).values():
        if folder is not None:
            paths += [folder, *_subfolders(folder)]
    paths += subgroup_files(flat.get("TEST.SUBGROUPS") or ())
    return [os.path.abspath(path) for path in paths]


def file_content(path: Path | None, named: str) -> str:
    """sha256 of a file; its bare name where it is absent."""
    if path is None or not is_file(path):
        return Path(named).name
    from dassl.utils.files import file_sha256  # not needed for reading results, and brings torch

    return file_sha256(path)


def folder_content(path: Path | None, named: str) -> str:
    """An image folder's name, and a hash of which images are in it and of their sizes."""
    name = Path(named).name
    if path is None:
        return name
    changed = tuple(os.stat(p).st_mtime_ns for p in (path, *_subfolders(path)))
    return f"{name} {_listing_hash(os.path.abspath(path), changed)[:16]}"


def _subfolders(folder: Path) -> list[Path]:
    """All folders below, at any depth: images may lie in ``train/<class>``."""
    inner = [Path(top, name) for top, names, _ in os.walk(folder) for name in names]
    return sorted(path for path in inner if os.path.isdir(path))  # False where it may not be seen


@lru_cache(maxsize=256)
def _listing_hash(folder: str, _changed: tuple[int, ...]) -> str:
    from cerviclip.data.files.folders import image_files

    digest = hashlib.sha256()
    for path in image_files(Path(folder)):
        try:
            size = os.stat(os.path.join(folder, path)).st_size
        except OSError:
            size = -1
        digest.update(f"{path}\0{size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
