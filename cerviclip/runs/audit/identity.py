"""Whether a run is the one that its results.json says: hashes, config, split, folder."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.settings.config_hash import config_hash, flatten
from cerviclip.runs.settings.files.named_files import named_files, named_folders
from cerviclip.runs.settings.run_key import shots_of


def check_config_hash(run: AuditedRun) -> None:
    """config_hash again from config.yaml, where all that the configuration names can be read."""
    if run.config is None:
        return
    flat = flatten(run.config)
    found = {**named_files(flat), **named_folders(flat)}
    absent = [key for key, path in found.items() if path is None]
    if config_hash(run.config) == run.results["config_hash"]:
        return
    if absent:
        named = ", ".join(f"{key} {flat.get(key)}" for key in absent)
        run.note("not_checked", f"config_hash: what {named} names is not to be found here")
        return
    changed = ", or what its keys name has changed" if found else ""
    run.note("config_hash", f"config.yaml gives another hash: a key was edited{changed}")


def check_identity(run: AuditedRun) -> None:
    """The facts that results.json shares with config.yaml, split.json and task.json."""
    if run.config is not None:
        shots = run.option("DATASET", "NUM_SHOTS")
        said = {
            "dataset": run.option("DATASET", "NAME"),
            "trainer": run.option("TRAINER", "NAME"),
            "seed": run.config.get("SEED"),
            "fold": run.option("DATASET", "FOLD", ""),
            "shots": shots_of(shots) if isinstance(shots, int) else shots,
        }
        _compare(run, "config.yaml", said)
    if run.done and run.split is not None:
        names = {"dataset": "dataset", "split_hash": "hash", "draw_hash": "draw_hash"}
        names |= {"fold": "fold", "seed": "draw_seed"}
        split = run.split
        # What lies outside ImagingDataset has a hash of its own and no draw in its split.json.
        if "draw_hash" in split:
            _compare(run, "split.json", {k: split[v] for k, v in names.items() if v in split})
    if run.done and run.task is not None and "positive" in run.task:
        _compare(run, "task.json", {"positive_classes": run.task["positive"]})


def check_status(run: AuditedRun) -> None:
    """A finished run has no error."""
    if run.done and run.results["error"]:
        text = f"status is done, but there is an error: {run.results['error']}"
        run.note("identity", text)


def _compare(run: AuditedRun, source: str, said: dict[str, Any]) -> None:
    for name, value in said.items():
        if run.results[name] != value:
            text = f"{name} is {run.results[name]!r} in results.json and {value!r} in {source}"
            run.note("identity", text)


def check_place(run: AuditedRun) -> None:
    """The folder ``.../shots_<k>/seed_<s>`` is that of the run's key."""
    if not re.fullmatch(r"seed_-?\d+", run.folder.name):
        return
    wanted = run.key.folder("").parts
    # The audited folder may be any one above; a copy of the output has its own names above that.
    inside = run.folder.relative_to(run.root).parts
    have = (*_parts_of(run.root), *inside)[-len(wanted) :]
    count = min(len(inside), len(wanted)) or 1
    if have[-count:] != wanted[-count:]:
        run.note("misplaced", f"its results are those of {'/'.join(wanted[-count:])}")


@lru_cache(maxsize=4)
def _parts_of(root: Path) -> tuple[str, ...]:
    return root.resolve().parts[1:]
