"""``export.json``: what an export says of itself. Needs no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cerviclip.runs.results_check import check_blocks
from cerviclip.runs.results_json import read_results
from cerviclip.shapes import parse_json
from dassl.errors import UserError
from dassl.utils.files import atomic_write

RECORD = "export.json"
ALONE, ENSEMBLE = 1, 2  # version of a run's export; of one that holds several
_MEMBER = re.compile(r"member_[0-9]{1,4}")


def is_export(folder: str | Path) -> bool:
    """Whether ``cerviclip export`` wrote the folder."""
    return (Path(folder) / RECORD).is_file()


def read_record(folder: Path) -> dict[str, Any]:
    """``export.json`` of an export.

    Raises:
        UserError: it is broken, or of a later version.
    """
    try:
        record = parse_json((folder / RECORD).read_text(encoding="utf-8"))
        check_blocks(record["results"], folder / RECORD)
        version, members = int(record["version"]), record.get("members", [])
        if not all(_MEMBER.fullmatch(name) for name in members):
            raise ValueError("a member's name")
    except UserError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{folder} is no whole export ({error!r})") from error
    if version > ENSEMBLE:
        raise UserError(f"{folder / RECORD} is newer than this code reads")
    return record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write it as the last file of an export: what has it is whole."""
    with atomic_write(folder / RECORD) as handle:
        json.dump(record, handle, indent=1, ensure_ascii=False, allow_nan=False)
        handle.write("\n")


def kept_of(results: Mapping[str, Any]) -> dict[str, Any]:
    """What of results.json goes into an export: nothing that names places of this machine."""
    return {key: value for key, value in results.items() if key not in ("runtime", "search")}


def known_results(folder: str | Path) -> dict[str, Any] | None:
    """results.json of a run or an ensemble; of an export what it kept of it. None for any other
    folder."""
    if is_export(folder):
        return read_record(Path(folder))["results"]
    return read_results(folder) if Path(folder).is_dir() else None
