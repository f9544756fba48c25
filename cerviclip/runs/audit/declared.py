"""Where runs of one table differ since their configurations ask for it: two folders of images, or
a method beside the same one on another split, as entries of one sweep with a name each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.settings.config_hash import LATER_CHOICES, LATER_KEYS, UNHASHED, flatten
from cerviclip.runs.settings.files.named_files import (
    BACKBONE,
    FURTHER_BACKBONES,
    named_files,
    named_folders,
)

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
#: What may tell the runs of one cell apart: which draw they are of, and where files lie.
_OF_A_RUN = {"SEED", "DATASET.FOLD", BACKBONE, FURTHER_BACKBONES, "TEST.SUBGROUPS"}


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

    The files that they name are compared by ``config_hash`` alone: a draw may be that of a file.
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
    apart = {*_OF_A_RUN, *UNHASHED, *named_files(flat), *named_folders(flat)}
    found = {key: value for key, value in flat.items() if key not in apart}
    for key, value in found.items():
        if key in LATER_KEYS and not value or LATER_CHOICES.get(key) == value:
            found[key] = None
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]} ..."
