"""What a table needs of a results.json, read without parsing the rest.

Nine tenths of a file are measures that no table shows (curves, bins, levels). `write_results`
writes each top-level key on a line of its own, after one space, and no line inside a value begins
so; there a key's text can be left out before the rest is parsed. A file that was written otherwise
is parsed whole. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cerviclip.evaluation.names import LEVEL_BLOCKS
from cerviclip.runs.results_json import KEYS, parsed_results
from cerviclip.shapes import plain_json

#: Left out: what no table reads. Runs that were not measured have ``null`` there.
HEAVY = (*LEVEL_BLOCKS, "patient_level")
_ALSO = "flow"
_OF_CENTER = ("confusion_matrix", "uncertainty")
_OF_RUNTIME = ("versions", "seconds", "job", "data_root", "title")
_START = b'{\n "schema_version": '


def slim_results(raw: bytes, path: object) -> dict[str, Any]:
    """A results.json as the newest schema has it, without what tables do not need.

    Args:
        raw: the file.
        path: its name, for errors.

    Raises:
        UserError: as of `read_results`.
    """
    return thin(parsed_results(raw, path, parse=_parse))


def _parse(raw: bytes, **how: Any) -> Any:
    if raw.startswith(_START) and (cut := without_keys(raw, HEAVY)) is not None:
        results = plain_json(cut, **how)
        if isinstance(results, dict) and results.keys() <= set(KEYS):
            return results
    return plain_json(raw, **how)


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
    out = {key: value for key, value in results.items() if key not in (*HEAVY, _ALSO)}
    out["runtime"] = {k: v for k, v in (results.get("runtime") or {}).items() if k in _OF_RUNTIME}
    out["centers"] = {
        name: {key: value for key, value in center.items() if key not in _OF_CENTER}
        for name, center in results["centers"].items()
    }
    return out
