"""Where runs of one table differ since their configurations ask for it: two folders of images, or
a method beside the same one on another split, as entries of one sweep with a name each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.settings.config_hash import LATER_CHOICES, LATER_KEYS, UNHASHED, flatten
from cerviclip.runs.settings.files.named_files import named_files, named_folders

#: Keys of DATASET by which runs read other images.
DATA = ("FOLDER", "FILE", "CENTERS", "CLASSES", "LEAVE_OUT", "CLASS_MAP", "CLASS_MAP_FILE")
#: Those by which they split them otherwise.
SPLIT = (
    *DATA,
    *("SPLIT_FILE", "SPLIT_RATIO", "SPLIT_BY", "SPLIT_SEED", "DRAW_FILE"),
    *("PATIENT_PATTERN", "PATIENT_PER_CLASS", "SOURCE_DOMAINS", "TARGET_DOMAINS"),
    *("SUBSAMPLE_CLASSES", "TEST_VARIANTS"),
)
POSITIVE = (*DATA, "POSITIVE")
#: What tells the runs of one cell apart.
_OF_A_RUN = {"SEED", "DATASET.FOLD"}


def declared(run: AuditedRun, other: AuditedRun, keys: Sequence[str]) -> str:
    """The key of DATASET by which an entry of a sweep differs from another; "" where there is none,
    or where a table has both under one name."""
    if run.key.variant == other.key.variant or run.config is None or other.config is None:
        return ""
    for key in keys:
        own, its = (r.option("DATASET", key) for r in (run, other))
        if own != its:
            return f"DATASET.{key} {_short(own)} here and {_short(its)} in {other.where}"
    own_section = run.config.get(run.key.dataset.upper())
    if own_section != other.config.get(other.key.dataset.upper()):
        return f"{run.key.dataset.upper()} is another one here than in {other.where}"
    return ""


def other_settings(run: AuditedRun, other: AuditedRun) -> list[str]:
    """Where the configurations of two runs of one cell differ, a line each.

    Files are compared by ``config_hash`` alone: here it counts whether there is one.
    """
    if run.config is None or other.config is None:
        return []
    own, its = _settings(run.config), _settings(other.config)
    return [
        f"{key} is {_short(own[key])} here and {_short(its[key])}"
        for key in own.keys() & its.keys()  # a version may have added some
        if own[key] != its[key]
    ]


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    flat = flatten(config)
    paths = {*named_files(flat), *named_folders(flat)}
    found = {}
    for key, value in flat.items():
        if key in UNHASHED or key in _OF_A_RUN:
            continue
        if key in LATER_KEYS and not value or LATER_CHOICES.get(key) == value:
            value = None
        file = key in paths or isinstance(value, str) and "/" in value
        found[key] = "a file" if file else value
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]} ..."
