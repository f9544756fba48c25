"""results.json: its schema, the hash of a configuration, and when a run counts as finished."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dassl.errors import UserError
from dassl.runs.contents import (
    BACKBONE,
    file_content,
    folder_content,
    named_files,
    named_folders,
)
from dassl.runs.folders import RESULTS, without_file

SCHEMA_VERSION = 1

KEYS = (
    "schema_version",
    "status",
    "error",
    "dataset",
    "trainer",
    "backbone",
    "weights_sha256",
    "variant",
    "shots",
    "seed",
    "split_hash",
    "draw_hash",
    "config_hash",
    "positive_classes",
    "test_read_early",
    "centers",
    "runtime",
)

# Keys that say where things are or how the work is shared out: no part of what a run is. Two of
# them change numbers nevertheless: USE_CUDA the last digits, and NUM_WORKERS all of them where
# images are augmented as they are loaded, since each loader process has a generator of its own, as
# upstream's has (docs/data.md says what to do).
UNHASHED = {
    "OUTPUT_DIR",
    "RESUME",
    "VERBOSE",
    "USE_CUDA",
    "VERSION",
    "DATASET.ROOT",
    "DATALOADER.NUM_WORKERS",
    "TRAIN.PRINT_FREQ",
    "TRAIN.CHECKPOINT_FREQ",
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
    if not flat.get("INPUT.STORE_DTYPE"):  # the usual one; older runs do not name it
        flat.pop("INPUT.STORE_DTYPE", None)
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


def read_results(folder: str | Path) -> dict[str, Any] | None:
    """The results.json of a run's folder; None where there is none.

    Raises:
        UserError: it is there and cannot be read as results.
    """
    path = Path(folder)
    path = path if path.suffix == ".json" else path / RESULTS
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        results = json.loads(text)
        version = results["schema_version"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a run's results ({error}); remove it") from error
    if version > SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {version}, newer than this code reads")
    return results


def write_results(folder: str | Path, results: Mapping[str, Any]) -> Path:
    """Write results.json whole or not at all; refuses NaN and infinities."""
    path = Path(folder) / RESULTS
    text = json.dumps(dict(results), indent=1, allow_nan=False)
    from dassl.utils.files import atomic_write

    with atomic_write(path) as handle:
        handle.write(text + "\n")
    return path


def is_finished(results: Mapping[str, Any] | None, wanted_hash: str) -> bool:
    """Whether results are those of a finished run of this very configuration."""
    return (
        results is not None
        and results.get("status") == "done"
        and results.get("config_hash") == wanted_hash
    )


def sound(value: Any) -> Any:
    """Numbers as JSON allows them: NaN and infinities become None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: sound(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [sound(item) for item in value]
    return value
