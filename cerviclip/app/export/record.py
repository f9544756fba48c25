"""``export.json``: what an export says of itself. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.runs.results_check import check_blocks
from cerviclip.runs.results_json import read_results
from cerviclip.runs.study_title import title, title_of
from cerviclip.shapes import parse_json
from dassl.errors import UserError
from dassl.utils.files import atomic_write, file_sha256

RECORD = "export.json"
OWN_HASH = "sha256"  # key of the hash of all other keys
ALONE, ENSEMBLE = 1, 2  # version of a run's export; of one that holds several
_MEMBER = re.compile(r"member_[0-9]{1,4}")


def is_export(folder: str | Path) -> bool:
    """Whether ``cerviclip export`` wrote the folder."""
    return (Path(folder) / RECORD).is_file()


def read_record(folder: Path) -> dict[str, Any]:
    """``export.json`` of an export.

    Raises:
        UserError: it is broken, was changed, or is of a later version.
    """
    try:
        record = parse_json((folder / RECORD).read_text(encoding="utf-8"))
        check_blocks(record["results"], folder / RECORD)
        title(title_of(record["results"]), "runtime.title")
        version, members = int(record["version"]), record.get("members", [])
        if not all(_MEMBER.fullmatch(name) for name in members):
            raise ValueError("a member's name")
    except UserError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{folder} is no whole export ({error!r})") from error
    if version > ENSEMBLE:
        raise UserError(f"{folder / RECORD} is newer than this code reads")
    if record.get(OWN_HASH, _digest(record)) != _digest(record):  # older exports have none
        raise UserError(f"{folder / RECORD} was changed after it was written; export the run again")
    return record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write it as the last file of an export: what has it is whole."""
    whole = {**record, OWN_HASH: _digest(record)}
    with atomic_write(folder / RECORD) as handle:
        json.dump(whole, handle, indent=1, ensure_ascii=False, allow_nan=False)
        handle.write("\n")


def hashes_of(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Name -> sha256 of those files of a folder that are there."""
    return {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}


def check_files(folder: Path, stated: Mapping[str, str], names: Sequence[str]) -> None:
    """Refuse an export with a file that is not the one it was written with.

    Args:
        stated: name -> sha256, as `hashes_of` gave it when the export was written.
        names: files that answers depend on.

    Raises:
        UserError: one was changed, lost or added.
    """
    found = hashes_of(folder, names)
    for name in names:
        if found.get(name) != stated.get(name):
            what = "was lost" if name not in found else "is not the one of the export"
            raise UserError(f"{folder / name} {what} (see {RECORD}); export the run again")


def _digest(record: Mapping[str, Any]) -> str:
    """sha256 of a record without its own hash, as it reads once it was written."""
    rest = {key: value for key, value in record.items() if key != OWN_HASH}
    plain = json.loads(json.dumps(rest))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def kept_of(results: Mapping[str, Any]) -> dict[str, Any]:
    """What of results.json goes into an export: nothing that names places of this machine."""
    kept = {key: value for key, value in results.items() if key not in ("runtime", "search")}
    told = title_of(results)
    return kept | ({"runtime": {"title": told}} if told else {})


def known_results(folder: str | Path) -> dict[str, Any] | None:
    """results.json of a run or an ensemble; of an export what it kept of it. None for any other
    folder."""
    if is_export(folder):
        return read_record(Path(folder))["results"]
    return read_results(folder) if Path(folder).is_dir() else None
