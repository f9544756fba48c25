"""What of a configuration can change a run's numbers, and the hash that stands for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cerviclip.runs.settings.files.named_files import (
    BACKBONE,
    FURTHER_BACKBONES,
    file_content,
    folder_content,
    further_backbones,
    named_files,
    named_folders,
    subgroup_files,
)
from cerviclip.runs.settings.folders import without_file

# Keys that say where things are, how they are called or how the work is shared out: no part of what
# a run is. Two of them change numbers nevertheless: USE_CUDA the last digits, and NUM_WORKERS all
# of them where images are augmented as they are loaded, since each loader process has a generator
# of its own, as upstream's has (docs/data.md says what to do).
UNHASHED = {
    "OUTPUT_DIR",
    "RESUME",
    "VERBOSE",
    "USE_CUDA",
    "VERSION",
    "DATASET.ROOT",
    "DATASET.PACKED",  # the same pixels
    "DATASET.TITLE",  # how the data are called
    "DATALOADER.NUM_WORKERS",
    "TRAIN.PRINT_FREQ",
    "TRAIN.CHECKPOINT_FREQ",
    "ADOPT.REPOSITORY",  # ADOPT.FILES is the hash of what is in it
    "ADOPT.COMMIT",
}

# Keys that older runs do not have. Empty they mean what was done before there were such keys.
LATER_KEYS = (
    "INPUT.STORE_DTYPE",
    "DATASET.FOLD",
    "TEST.INTERVALS",
    "TEST.MISS_COST",
    "INPUT.BITS",
    "INPUT.WINDOW",
    "DATASET.PATIENT_PER_CLASS",
    "DATASET.LEAVE_OUT",
    "DATASET.CLASS_MAP_FILE",
    "DATASET.DRAW_FILE",
    "DATASET.CENTERS",
    "TRAINER.ZEROSHOTCLIP.TEMPLATE",
    "TRAINER.ZEROSHOTCLIP.CLASS_WEIGHTS",
    "DATASET.TEST_VARIANTS",
    "TEST.SUBGROUPS",
    "TRAINER.CNNBASELINE.MASK.WEIGHT",
    "TRAINER.CNNBASELINE.MASK.CHECKPOINT",
    "TRAINER.SAVLT.MASK_WEIGHT",
    "TRAIN.FEDERATED_ROUNDS",
    "TRAIN.FEDERATED_MU",
    "TRAINER.CLIVP.REPORTS",
    "INPUT.RESIZE_FIRST",
)

# The same, with the value that means what was done before.
LATER_CHOICES = {
    "DATASET.SHOTS_BY": "class",
    "TEST.INTERVALS": "bootstrap",
    "TEST.PATIENT_RULE": "mean",
    "TEST.PREVALENCES": [0.01, 0.05, 0.2],
    "TEST.COVERAGE": 0.9,
    "DATASET.SHOTS_SCENARIO": "balanced",
    "DATASET.SUBSAMPLE_CLASSES": "all",
    "ADOPT.SUBSAMPLE_CLASSES": "all",
    "INPUT.ROTATION": 15.0,
    "TRAINER.CLIVP.REPORT_WORDS": "refuse",
    "TRAINER.CNNBASELINE.MASK.SOURCE": "masks",
    "TRAINER.CNNBASELINE.MASK.FOLDER": "masks",
    "DATALOADER.DRAW_BY": "batch",
}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested mapping; tuples become lists so that yaml and cfg compare equal."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def canonical(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration can change a run's numbers, sorted by key.

    Paths are dropped; a file or an image folder that the configuration names is stood for by what
    is in it.
    """
    whole = flatten(cfg)
    flat = {key: value for key, value in whole.items() if key not in UNHASHED}
    for key, path in named_files(whole).items():
        content = file_content(path, str(flat[key]))
        flat[key] = f"{without_file(flat[key])}:{content}" if key == BACKBONE else content
    for key, path in named_folders(whole).items():
        flat[key] = folder_content(path, str(flat[key]))
    if specs := whole.get("TEST.SUBGROUPS"):
        columns = (str(spec).rpartition(":")[2] for spec in specs)
        files = (file_content(path, str(path)) for path in subgroup_files(specs))
        flat["TEST.SUBGROUPS"] = [f"{f}:{c}" for f, c in zip(files, columns, strict=True)]
    if further := further_backbones(whole):
        flat[FURTHER_BACKBONES] = [
            f"{name}={file_content(path, str(path))}" if path else name
            for name, path in further.values()
        ]
    for key in LATER_KEYS:
        if not flat.get(key):
            flat.pop(key, None)
    for key, usual in LATER_CHOICES.items():
        if flat.get(key) == usual:
            del flat[key]
    return dict(sorted(flat.items()))


def config_hash(cfg: Mapping[str, Any]) -> str:
    """sha256 of the canonical configuration."""
    text = json.dumps(canonical(cfg), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def differing_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """``KEY (old -> new)`` for each key in which two configurations differ."""
    a, b = canonical(old), canonical(new)
    absent = "absent"
    return [
        f"{key} ({a.get(key, absent)!r} -> {b.get(key, absent)!r})"
        for key in sorted(a.keys() | b.keys())
        if a.get(key, absent) != b.get(key, absent)
    ]
