"""What a table needs of a results.json, read without parsing the rest.

Nine tenths of a file are measures that no table shows (curves, bins, levels). `write_results`
writes each top-level key on a line of its own, after one space, and no line inside a value begins
so; there a key's text can be left out before the rest is parsed. A file that was written otherwise
is parsed whole. Needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cerviclip.evaluation.names import LEVEL_BLOCKS
from cerviclip.runs.results_check import WAY_OUT, why_no_results
from cerviclip.runs.results_json import KEYS, SCHEMA_VERSION, upgrade
from cerviclip.shapes import refuse_constant
from dassl.errors import UserError

#: Left out: what no table reads.
HEAVY = (*LEVEL_BLOCKS, "patient_level", "flow")
_OF_CENTER = ("confusion_matrix", "uncertainty")
_OF_RUNTIME = ("versions", "seconds", "job", "data_root")
_START = b'{\n "schema_version": '


def slim_results(raw: bytes, path: object) -> dict[str, Any]:
    """A results.json as the newest schema has it, without what tables do not need.

    Args:
        raw: the file.
        path: its name, for errors.

    Raises:
        UserError: it cannot be read as results, or says what cannot be.
    """
    try:
        results = _parsed(raw)
        version = results["schema_version"]
        if type(version) is not int or version < 1:
            raise ValueError(f"schema_version is {version!r}")
        if version > SCHEMA_VERSION:
            raise UserError(f"{path} has schema version {version}, newer than this code reads")
        results = upgrade(results)
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is not a run's results ({error}); remove it") from error
    if why := why_no_results(results):
        raise UserError(f"{path}: {why}; {WAY_OUT}")
    return thin(results)


def _parsed(raw: bytes) -> Any:
    if raw.startswith(_START) and (cut := without_keys(raw, HEAVY)) is not None:
        results = json.loads(cut, parse_constant=refuse_constant)
        if isinstance(results, dict) and results.keys() <= set(KEYS):
            return results
    return json.loads(raw, parse_constant=refuse_constant)


def without_keys(raw: bytes, names: tuple[str, ...]) -> bytes | None:
    """The text of a JSON object, as `write_results` lays it out, with ``null`` for some values.

    Returns:
        None where the layout is another one.
    """
    parts, at = [], 0
    for start, after in _spans(raw, names):
        end = raw.find(b'\n "', after)
        if end < 0:  # the last key
            end = raw.rfind(b"\n}")
            value = raw[after:end]
        else:
            value = raw[after : end - 1] if raw[end - 1 : end] == b"," else b""
        if start < at or not _is_whole(value):
            return None
        parts += [raw[at:after], b"null"]
        at = after + len(value)
    return b"".join([*parts, raw[at:]])


def _spans(raw: bytes, names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Where each key's line begins, and its value; in the order of the file."""
    spans = []
    for name in names:
        key = f'\n "{name}": '.encode()
        start = raw.find(key)
        if start >= 0:
            spans.append((start, start + len(key)))
    return sorted(spans)


def _is_whole(value: bytes) -> bool:
    """Whether a value's text is that of one object, list or null, closed where it was opened."""
    if value in (b"null", b"{}", b"[]"):
        return True
    pairs = ((b"{\n", b"\n }"), (b"[\n", b"\n ]"))
    return any(value.startswith(left) and value.endswith(right) for left, right in pairs)


def thin(results: Mapping[str, Any]) -> dict[str, Any]:
    """Parsed results without what tables do not need."""
    out = {key: value for key, value in results.items() if key not in HEAVY}
    runtime = results.get("runtime") or {}
    out["runtime"] = {k: v for k, v in runtime.items() if k in _OF_RUNTIME}
    out["centers"] = {
        name: {key: value for key, value in center.items() if key not in _OF_CENTER}
        for name, center in results["centers"].items()
    }
    return out
