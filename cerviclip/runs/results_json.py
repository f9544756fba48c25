"""results.json: its schema, reading and writing it, and when a run counts as finished.

In memory results are always of the newest schema. A file states the lowest version that can hold
what it says. Runs write the newest; what was read of an older version stays of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cerviclip.evaluation.names import BLOCKS
from cerviclip.evaluation.names import NEW as NEW
from cerviclip.runs.results_check import WAY_OUT, check_blocks, why_no_results
from cerviclip.runs.settings.folders import RESULTS
from cerviclip.shapes import plain_json, refuse_constant
from dassl.errors import UserError

SCHEMA_VERSION = 2

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
    "fold",
    "seed",
    "split_hash",
    "draw_hash",
    "left_out_center",
    "base_to_new",
    "search",
    "trainable_params",
    "setup",
    "transductive",
    "ensemble",
    "config_hash",
    "positive_classes",
    "test_read_early",
    "centers",
    *BLOCKS,
    "subgroups",
    "flow",
    "warnings",
    "runtime",
    "adopted",
)

# What each version added: key -> the value that stands for its absence in older files.
ADDED: dict[int, dict[str, Any]] = {
    2: {
        "fold": "",
        "left_out_center": "",
        "base_to_new": {},
        "search": {},
        "trainable_params": None,
        "setup": {},
        "adopted": None,
        "transductive": False,
        "ensemble": {},
        **dict.fromkeys(BLOCKS),
        "subgroups": {},
        "flow": {},
        "warnings": [],
    }
}


# The same of the entries of centres.
ADDED_TO_CENTERS: dict[int, tuple[str, ...]] = {2: ("counts", "uncertainty")}


def read_results(folder: str | Path, consistent: bool = True) -> dict[str, Any] | None:
    """The results.json of a run's folder, as the newest schema has it; None where there is none.

    Args:
        folder: the run's, or the file.
        consistent: refuse numbers that do not follow from each other; an audit names them itself.

    Raises:
        UserError: it is there and cannot be read as results, or says what cannot be
            (``results_check``).
    """
    path = Path(folder)
    path = path if path.suffix == ".json" else path / RESULTS
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); {WAY_OUT}") from error
    return parsed_results(text, path, consistent)


def parsed_results(
    text: str | bytes, path: object, consistent: bool = True, parse: Callable[..., Any] = plain_json
) -> dict[str, Any]:
    """The text of a results.json as the newest schema has it; see `read_results`.

    Args:
        text: of the file.
        path: its name, for errors.
        consistent: as of `read_results`.
        parse: called as ``json.loads`` is.
    """
    try:
        results = parse(text, parse_constant=refuse_constant)
        version = results["schema_version"]
        if type(version) is not int or version < 1:
            raise ValueError(f"schema_version is {version!r}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not a run's results ({error}); remove it") from error
    if version > SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {version}, newer than this code reads")
    results = upgrade(results)
    if why := why_no_results(results, consistent):
        raise UserError(f"{path}: {why}; {WAY_OUT}")
    return results


def read_measured(folder: str | Path) -> dict[str, Any] | None:
    """As `read_results`, for those who show or use the blocks that follow from predictions.

    Raises:
        UserError: also where such a block is not of its shape.
    """
    results = read_results(folder)
    if results is not None:
        check_blocks(results, folder)
    return results


def write_results(folder: str | Path, results: Mapping[str, Any]) -> Path:
    """Write results.json whole or not at all; refuses NaN and infinities.

    Args:
        folder: the run's.
        results: of the newest schema.
    """
    path = Path(folder) / RESULTS
    text = json.dumps(downgrade(results), indent=1, allow_nan=False)
    from dassl.utils.files import atomic_write

    with atomic_write(path) as handle:
        handle.write(text + "\n")
    return path


def upgrade(results: Mapping[str, Any]) -> dict[str, Any]:
    """Results of any version as the newest schema has them."""
    absent = {
        key: empty
        for added in ADDED.values()  # a version grows: also its own files may lack some
        for key, empty in added.items()
        if key not in results
    }
    return {**results, "schema_version": SCHEMA_VERSION, **absent}


def with_what_was_taken_out(results: Mapping[str, Any]) -> dict[str, Any]:
    """Results with empty values for keys of the first version that another hand has taken out, and
    without which a run can still be described. An audit names them."""
    nothing = dict.fromkeys(("split_hash", "draw_hash"))
    return {**nothing, "config_hash": "", "positive_classes": [], "runtime": {}, **results}


def downgrade(results: Mapping[str, Any]) -> dict[str, Any]:
    """Results of the newest schema as the lowest version has them that can hold what they say."""
    out = dict(results)
    for version in range(SCHEMA_VERSION, 1, -1):
        added = ADDED[version]
        if _in_centers(out, version) or any(
            out.get(key, empty) != empty for key, empty in added.items()
        ):
            return {**out, "schema_version": version}
        out = {key: value for key, value in out.items() if key not in added}
    return {**out, "schema_version": 1}


def _in_centers(results: Mapping[str, Any], version: int) -> bool:
    """Whether a centre says what this version added."""
    added = ADDED_TO_CENTERS.get(version, ())
    return any(key in center for center in results.get("centers", {}).values() for key in added)


def is_finished(results: Mapping[str, Any] | None, wanted_hash: str) -> bool:
    """Whether results are those of a finished run of this very configuration."""
    return (
        results is not None
        and results.get("status") == "done"
        and results.get("config_hash") == wanted_hash
    )


def finite_or_none(value: Any) -> Any:
    """Numbers as JSON allows them: NaN and infinities become None."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is str or kind is int or value is None:
        return value  # most of a results.json
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_none(item) for item in value]
    return value
