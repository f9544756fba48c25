"""Copies of one image in several parts of a split, by the bytes of the files where they are."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.data.files.hashes import image_hashes
from cerviclip.data.split.patient_grouped import PARTS
from cerviclip.evaluation.names import IN_DOMAIN
from cerviclip.runs.audit.run_folder import AuditedRun
from dassl.paths import at_home


def check_copies(runs: Sequence[AuditedRun], root: str = "") -> int:
    """Look for copies among the images of each split and its centres.

    Files are read only where their sizes agree.

    Args:
        runs: the runs; equal lists of images are looked at once.
        root: where the images lie; "" takes the folder that each run notes.

    Returns:
        How many runs have images that are not to be found.
    """
    known: dict[Any, tuple[str, int]] = {}
    unreached = 0
    for run in runs:
        if not run.done or run.split is None:
            continue
        parts = {part: tuple(r["path"] for r in run.split[part]) for part in PARTS}
        for center, predictions in (run.predictions or {}).items():
            if center not in (IN_DOMAIN, "val"):
                parts[f"centre {center}"] = tuple(predictions.paths)
        noted = run.results["runtime"].get("data_root") or run.option("DATASET", "ROOT") or "."
        place = root or str(noted)
        key = (place, tuple(parts.items()))
        if key not in known:
            known[key] = _look(at_home(place), parts)
        text, absent = known[key]
        unreached += bool(absent)
        if text:
            run.note("copy_leak", text)
    return unreached


def _look(root: Path, parts: dict[str, tuple[str, ...]]) -> tuple[str, int]:
    """What to say of copies, and how many files are absent."""
    by_size: dict[int, list[tuple[str, str]]] = defaultdict(list)
    absent = 0
    for part, paths in parts.items():
        for path in paths:
            try:
                by_size[os.stat(root / path).st_size].append((part, path))
            except (OSError, ValueError):  # also of a name that no file can have
                absent += 1
    hashes, same = image_hashes(), defaultdict(list)
    for members in by_size.values():
        if len({part for part, _ in members}) > 1:
            for part, path in members:
                same[hashes.sha256(root / path)].append((part, path))
    hashes.flush()
    across = [group for group in same.values() if len({part for part, _ in group}) > 1]
    # The same path in two parts is `image_leak`.
    across = [group for group in across if len({path for _, path in group}) > 1]
    if not across:
        return "", absent
    pair = " and ".join(f"{path} in {part}" for part, path in dict(across[0]).items())
    return f"{counted(len(across), 'image', 'have')} copies in other parts, such as {pair}", absent
