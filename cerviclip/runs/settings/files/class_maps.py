"""Class maps as files: common classes for data sets that name theirs differently.

A file in ``configs/class_maps`` has ``classes`` (in the order of the labels), ``positive``, perhaps
``descriptions`` (a file of prompt sets), and ``maps``: for each data set, its class: ours, "" where
a class is left out. It fills the config keys that say the same; what the user gives comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cerviclip.data.files.names import clean
from cerviclip.places import CONFIGS
from dassl.config import CfgNode
from dassl.config.yaml_file import read_yaml
from dassl.errors import MissingFileError, UserError, did_you_mean
from dassl.paths import at_home, is_file

KEYS = ("classes", "positive", "descriptions", "maps")


def fill_from_class_map(cfg: CfgNode) -> None:
    """Put what ``DATASET.CLASS_MAP_FILE`` says into CLASSES, POSITIVE, DESCRIPTIONS and CLASS_MAP.

    The key itself is emptied: the other keys say all of it, also where the file is not there.

    Raises:
        UserError: the file is missing or contradicts itself.
    """
    options = cfg.DATASET
    if not options.CLASS_MAP_FILE:
        return
    path = _find(options.CLASS_MAP_FILE)
    tree = read_yaml(path, "class map file", "classes, positive and maps")
    for key in tree:
        if key not in KEYS:
            raise UserError(f"unknown key {key!r} in {path}{did_you_mean(str(key), KEYS)}")
    classes = [clean(name) for name in tree.get("classes") or ()]
    if len(classes) < 2:
        raise UserError(f"{path} names {len(classes)} classes; 'classes' needs two")
    merged = _merged(path, tree.get("maps") or {}, classes)
    given = {clean(name) for name in options.CLASS_MAP}
    for name, ours in merged.items():
        if name not in given:
            options.CLASS_MAP[name] = ours
    options.CLASSES = tuple(options.CLASSES) or tuple(classes)
    options.POSITIVE = tuple(options.POSITIVE) or tuple(map(clean, tree.get("positive") or ()))
    options.DESCRIPTIONS = options.DESCRIPTIONS or str(tree.get("descriptions") or "")
    options.CLASS_MAP_FILE = ""


def _find(name: str) -> Path:
    folder = CONFIGS / "class_maps"
    for path in (at_home(name), folder / name, folder / f"{name}.yaml"):
        if is_file(path):
            return path
    known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
    raise MissingFileError(
        f"DATASET.CLASS_MAP_FILE {name} is no file, nor one of configs/class_maps ({known})"
    )


def _merged(path: Path, maps: Mapping[Any, Any], classes: list[str]) -> dict[str, str]:
    """One map of all data sets' classes.

    Raises:
        UserError: a class is mapped to none of ``classes``, or to two of them.
    """
    merged: dict[str, str] = {}
    for dataset, of_dataset in maps.items():
        if not isinstance(of_dataset, Mapping):
            raise UserError(f"{path}: maps of {dataset} must be 'class: ours', not {of_dataset!r}")
        for name, ours in of_dataset.items():
            theirs, word = clean(name), clean(ours)
            if word and word not in classes:
                raise UserError(
                    f'{path} maps "{theirs}" of {dataset} to "{word}", which is not among its '
                    f"classes {', '.join(classes)}"
                )
            if merged.setdefault(theirs, word) != word:
                raise UserError(
                    f'{path} maps "{theirs}" to "{merged[theirs]}" and, of {dataset}, to "{word}"'
                )
    return merged
