"""What the numbers of results.md are of: positive group, images, patients and folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.evaluation.names import HOME_PARTS, patients_known
from cerviclip.runs.report.groups import Group
from cerviclip.runs.study_title import shown_name
from dassl.config.yaml_file import read_yaml
from dassl.errors import UserError


def about_lines(groups: Sequence[Group]) -> list[str]:
    """A line for each data set; sizes of runs that differ, such as folds, are spans.

    Args:
        groups: of ``groups.group_runs``, their runs with ``folder``.
    """
    by_dataset: dict[str, list[Mapping[str, Any]]] = {}
    for group in groups:
        by_dataset.setdefault(group.dataset, []).extend(group.runs)
    return [_line(dataset, runs) for dataset, runs in by_dataset.items()]


def _line(dataset: str, runs: Sequence[Mapping[str, Any]]) -> str:
    options = _data_options(runs[0])
    groups = dict.fromkeys(", ".join(run["positive_classes"]) for run in runs)
    told = " or ".join(name or "none" for name in groups)
    parts = [f"positive group: {told}"]
    entries: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        for center, entry in run["centers"].items():
            entries.setdefault(center, []).append(entry)
    folders = options.get("EXTERNAL_FOLDERS") or {}
    for center, found in entries.items():
        place = "" if center in HOME_PARTS else _place(folders.get(center))
        parts.append(f"{center}{place}: {_size(found)}")
    source = _place(options.get("FOLDER"), options.get("FILE"))
    return f"- {shown_name(dataset, runs)}{source}; {'; '.join(parts)}"


def _data_options(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """``DATASET`` of a run's configuration; empty where the file is gone or damaged."""
    try:
        found = read_yaml(Path(run["folder"]) / "config.yaml", "config file").get("DATASET")
    except (OSError, UserError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _place(folder: Any, file: Any = "") -> str:
    """The last name of a path: whole ones would say where somebody keeps her data."""
    names = (("folder", folder), ("list", file))
    told = [f"{kind} {Path(str(path)).name}" for kind, path in names if path]
    return f" ({', '.join(told)})" if told else ""


def _size(entries: Sequence[Mapping[str, Any]]) -> str:
    images = [entry["n_images"] for entry in entries if "n_images" in entry]
    if not images:
        return "not counted"
    known = all(patients_known(entry) for entry in entries)
    patients = [entry["n_patients"] for entry in entries if "n_patients" in entry]
    if not known or not patients:
        return f"{_span(images, 'image')}, patients not known"
    return f"{_span(images, 'image')} of {_span(patients, 'patient')}"


def _span(numbers: Sequence[int], noun: str) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,} to {high:,} {noun}s" if low < high else counted(low, noun)
