"""Knowing without torch that a sweep's runs are all finished, so that its table comes in seconds.

A run's configuration hash takes the trainers' modules, hence torch, to compute. After a sweep its
folders and hashes are noted, with size and time of every file the configurations came from or name;
while none of those has changed, the hashes still hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cerviclip.environment import store_dtype
from cerviclip.locks import claimed
from cerviclip.places import HOME, PACKAGE
from cerviclip.plugins import plugin_files
from cerviclip.runs.results_json import is_finished, read_results
from cerviclip.runs.settings.configure import find_config
from cerviclip.runs.settings.plan import Plan, RunSpec
from cerviclip.runs.study_title import title_of
from cerviclip.shapes import anything, listed, mapping, parse_json, record, text
from dassl.config.yaml_file import layers_of

SOURCES = (
    (HOME / "trainers", "*.py"),
    (HOME / "datasets", "*.py"),
    (HOME / "configs", "*.yaml"),
    (PACKAGE, "*.py"),
    (PACKAGE.parent / "dassl", "*.py"),
)


_RUNS = listed(listed(text))  # pairs of a folder and a configuration's hash
_SHAPE = record(
    {"sources": text, "files": mapping(anything), "runs": _RUNS, "unchosen": _RUNS},
    {"titles": listed(text)},
)


@dataclass
class SweepIndex:
    """Where a plan's runs are, each with the hash of the configuration that it must have."""

    runs: list[tuple[Path, str]]
    unchosen: list[tuple[Path, str]]  # runs that the flags leave out; some may not be there
    titles: list[str] = field(default_factory=list)  # of ``runs``, "" for none; []: all none

    @property
    def folders(self) -> list[Path]:
        return [folder for folder, _ in self.runs]


def write(plan: Plan, index: SweepIndex, files: Iterable[str]) -> None:
    """Write down where a plan's runs are and which configuration each must have.

    Args:
        plan: the sweep.
        index: its runs.
        files: what their configurations name besides the project's own sources (weights, splits).
    """
    from dassl.utils.files import atomic_write, remove_temporaries

    content = {
        "files": _stamps([*files, *_plugin_files(plan)]),
        "runs": [[str(folder), wanted] for folder, wanted in index.runs],
        "unchosen": [[str(folder), wanted] for folder, wanted in index.unchosen],
        "titles": index.titles,
        "sources": _source_stamp(),
        "store": store_dtype(),
    }
    path = _path(plan)
    with claimed(path.parent, wait=True):
        if path.parent.is_dir():
            remove_temporaries(path.parent)
        with atomic_write(path) as handle:
            json.dump(content, handle)


def read_if_finished(plan: Plan) -> SweepIndex | None:
    """Where a plan's runs are if they are known to be finished; None if that must be worked out."""
    try:
        noted = parse_json(_path(plan).read_text(encoding="utf-8"))
        _SHAPE(noted, "")
        if any(len(pair) != 2 for key in ("runs", "unchosen") for pair in noted[key]):
            return None
    except (OSError, ValueError):  # damaged: it is worked out again
        return None
    if noted["sources"] != _source_stamp() or noted.get("store") != store_dtype():
        return None
    now = _stamps(noted["files"])
    if noted["files"] != now or not all(now.values()):  # of an absent file nothing is known
        return None
    titles = noted.get("titles") or [""] * len(noted["runs"])
    for (folder, wanted), title in zip(noted["runs"], titles, strict=False):
        results = read_results(folder)
        if not is_finished(results, wanted) or title not in ("", title_of(results or {})):
            return None
    runs, unchosen = (
        [(Path(folder), wanted) for folder, wanted in noted[key]] for key in ("runs", "unchosen")
    )
    return SweepIndex(runs, unchosen, titles)


def _path(plan: Plan) -> Path:
    key = hashlib.sha256(repr([plan.runs, plan.unchosen]).encode()).hexdigest()[:16]
    return plan.output_root / ".sweeps" / f"{key}.json"


def _stamps(files: Iterable[str]) -> dict[str, Any]:
    return {str(path): _stamp(Path(path)) for path in sorted(set(files))}


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _source_stamp() -> str:
    digest = hashlib.sha256()
    for folder, pattern in SOURCES:
        for path in sorted(folder.rglob(pattern)):
            digest.update(f"{path} {_stamp(path)}\n".encode())
    return digest.hexdigest()


def _plugin_files(plan: Plan) -> list[str]:
    specs = sorted({spec for run in _all(plan) for spec in run.plugins})
    configs = sorted({run.config for run in _all(plan) if run.config})
    found = [find_config(config, "config file") for config in configs]
    layers = [file.path for path in found for file in layers_of(path)]  # and what they build on
    return [file for spec in specs for file in plugin_files(spec)] + [str(path) for path in layers]


def _all(plan: Plan) -> list[RunSpec]:
    return [*plan.runs, *plan.unchosen]
