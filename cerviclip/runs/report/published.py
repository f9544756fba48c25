"""The portable set of a sweep's splits and draws: files that anybody can repeat (``--split``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.data.split.folds import parse_fold
from cerviclip.data.split.patient_grouped import PARTS
from cerviclip.data.split.record import read_split_record
from cerviclip.data.split.repeated import DIGITS, IMAGES
from cerviclip.runs.report.groups import load_runs
from cerviclip.runs.settings.files.draw_files import MANIFEST
from cerviclip.runs.settings.folders import safe_part
from dassl.errors import UserError
from dassl.utils.files import atomic_write, file_sha256

SCHEMA_VERSION = 1


def publish(sweep: str | Path, out: str | Path, root: str = "") -> tuple[list[dict[str, Any]], int]:
    """Write each split and draw of a sweep's finished runs once, and a manifest of them.

    Args:
        sweep: folder of runs.
        out: a folder that is empty or not there.
        root: where the images lie, for their hashes; "" looks where the runs found them.

    Returns:
        The manifest's entries, and how many of them lack hashes of their images.

    Raises:
        UserError: no runs, a run without split.json, or ``out`` holds something.
    """
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; name a new folder")
    records: dict[str, tuple[dict[str, Any], str]] = {}
    for run in load_runs(sweep):
        if run["status"] == "done":
            record = _record_of(run)
            place = root or str(run["runtime"].get("data_root") or "")
            records.setdefault(_name(record), (record, place))
    # What trains nothing needs no draw of its own where others have drawn from the same split.
    drawn = {record["hash"] for record, _ in records.values() if record.get("shots")}
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for name, (record, place) in sorted(records.items()):
        if record.get("shots") or record["hash"] not in drawn:
            entries.append(_write(folder / name, record, Path(place)))
    content = {"schema_version": SCHEMA_VERSION, "files": entries}
    _write_json(folder / MANIFEST, content)
    return entries, sum(not entry["with_image_hashes"] for entry in entries)


def _record_of(run: Mapping[str, Any]) -> dict[str, Any]:
    path = Path(run["folder"]) / "split.json"
    try:
        record = read_split_record(path)
        return record if record["hash"] and record["dataset"] else {}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is no split of a run ({error}); make the run again") from error


def _name(record: Mapping[str, Any]) -> str:
    """``Herlev-shots_4-seed_1-fold2of5-1a2b3c4d.json``: what it is, and its draw's hash."""
    shots = record.get("shots", -1)
    parts = [safe_part(str(record["dataset"])), f"shots_{'full' if shots < 0 else shots}"]
    parts.append(f"seed_{record.get('draw_seed', record.get('seed', 0))}")
    if fold := parse_fold(record.get("fold", "")):
        parts.append(safe_part(f"fold{fold}".replace("/", "of").replace("@", "repeat")))
    parts.append(str(record.get("draw_hash") or record["hash"])[:8])
    return f"{'-'.join(parts)}.json"


def _write(path: Path, record: dict[str, Any], root: Path) -> dict[str, Any]:
    hashes = _image_hashes(record, root)
    _write_json(path, record | ({IMAGES: hashes} if hashes else {}))
    return {
        "file": path.name,
        "sha256": file_sha256(path),
        **{key: record.get(key) for key in ("dataset", "shots", "draw_seed", "hash", "draw_hash")},
        "fold": record.get("fold", ""),
        "images": {part: len(record.get(part) or ()) for part in PARTS},
        "with_image_hashes": bool(hashes),
        "repeatable": "draw_hash" in record and "sources" not in record,
    }


def _image_hashes(record: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Starts of the sha256 of all images; empty where not all of them are there."""
    from cerviclip.data.files.hashes import image_hashes

    names = [row["path"] for part in PARTS for row in record.get(part) or ()]
    if not all((root / name).is_file() for name in names):
        return {}
    cache = image_hashes()
    found = {name: cache.sha256(root / name)[:DIGITS] for name in names}
    cache.flush()
    return found


def _write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    with atomic_write(path) as handle:
        json.dump(content, handle, indent=1, ensure_ascii=False)
        handle.write("\n")
