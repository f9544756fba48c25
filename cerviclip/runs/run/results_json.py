"""results.json: its schema, the hash of a configuration, and when a run counts as finished."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cerviclip.runs.settings.folders import RESULTS
from dassl.errors import UserError

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


def finite_or_none(value: Any) -> Any:
    """Numbers as JSON allows them: NaN and infinities become None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_none(item) for item in value]
    return value
