"""What a report is about: the runs below a folder, and of each data set the one shown in detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.data.split.patient_grouped import PARTS
from cerviclip.data.split.record import FILE, read_split_record
from cerviclip.evaluation.measures import Home, Sample
from cerviclip.runs.measured import read_val, sample_of
from cerviclip.runs.predictions import read_predictions
from cerviclip.runs.report.groups import Group, group_runs, load_runs, runs_of, sweep_order
from cerviclip.runs.report.tables import row_labels
from cerviclip.runs.results_check import check_blocks
from cerviclip.runs.results_json import with_what_was_taken_out
from cerviclip.runs.settings.run_key import shots_order
from cerviclip.runs.study_title import shown_name
from dassl.config import read_yaml
from dassl.errors import UserError, did_you_mean
from dassl.paths import is_file

BY_VAL = "the highest mean accuracy on val among the methods with the most shots"
BY_NAME = "named when this draft was made"
BY_BEING_ALONE = "the only method"
BY_SHOTS = "the only method with the most shots"
BUT_TRANSDUCTIVE = ", without those that have seen the test images"
BY_ORDER = "the first of the table, since no run has val predictions"


@dataclass
class Part:
    """One data set's runs.

    Args:
        dataset: its registered name.
        groups: all of its groups, in the order of the tables.
        featured: the group that is shown in detail.
        run: the first run of it, whose predictions the figures show.
        why: how ``featured`` was chosen; never by test images.
    """

    dataset: str
    groups: list[Group]
    featured: Group
    run: Mapping[str, Any]
    why: str

    @property
    def name(self) -> str:
        """What people are told of the data set."""
        return shown_name(self.dataset, runs_of(self.groups))

    @property
    def flow(self) -> dict[str, Any]:
        """The run's ``flow``, the training's data under the name that people are told."""
        flow = dict(self.run["flow"] or {})
        sources = flow.get("sources") or {}
        if sources and self.name not in sources:  # a centre may be called as the title is
            flow["sources"] = {
                self.name if name == self.dataset else name: of for name, of in sources.items()
            }
        return flow

    @property
    def label(self) -> str:
        return row_labels(self.groups)[self.featured.row]

    @property
    def config(self) -> dict[str, Any]:
        path = Path(self.run["folder"]) / "config.yaml"
        return dict(read_yaml(path, "config file")) if is_file(path) else {}

    @cached_property
    def split(self) -> dict[str, Any]:
        """What split.json of the run says of how it was made; {} where there is none."""
        path = Path(self.run["folder"]) / FILE
        try:
            record = read_split_record(path)
        except (OSError, ValueError):
            return {}
        return {key: value for key, value in record.items() if key not in PARTS}

    def samples(self) -> list[Sample]:
        """The featured run's predictions, centre by centre; none where it saved none."""
        try:
            found = read_predictions(self.run["folder"])
        except FileNotFoundError:
            return []
        return [sample_of(p, self.run["positive_classes"]) for p in found]

    def home(self, samples: Sequence[Sample]) -> Home:
        return Home.from_results(self.run, samples[0].classnames)


@dataclass
class Study:
    """All that a report reads."""

    folder: Path
    runs: list[dict[str, Any]]
    parts: list[Part]

    @classmethod
    def read(cls, folder: str | Path, featured: str = "") -> Study:
        """From the runs below a folder.

        Args:
            featured: a row's label as the tables print it; "" leaves the choice to val.

        Raises:
            UserError: no finished run, or no such row.
        """
        runs = [with_what_was_taken_out(run) for run in load_runs(folder)]
        groups = group_runs(runs, sweep_order(folder))
        if not groups:
            raise UserError(f"no finished run below {folder}; a report needs one")
        by_dataset: dict[str, list[Group]] = {}
        for group in groups:
            by_dataset.setdefault(group.dataset, []).append(group)
        if featured:
            labels = dict.fromkeys(
                v for own in by_dataset.values() for v in row_labels(own).values()
            )
            if featured not in labels:
                hint = did_you_mean(featured, labels)
                raise UserError(f"no runs of {featured!r}{hint} (known: {', '.join(labels)})")
        parts = [_part(name, own, featured) for name, own in by_dataset.items()]
        for part in parts:
            check_blocks(part.run, part.run["folder"])
        return cls(Path(folder), runs, parts)

    def name_of(self, dataset: str) -> str:
        """What people are told of a data set: of one that runs were trained on their title."""
        return next((part.name for part in self.parts if part.dataset == dataset), dataset)

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [run for run in self.runs if run["status"] != "done"]

    @property
    def binary(self) -> bool:
        """Whether any data set has a positive group."""
        return any(part.run["positive_classes"] for part in self.parts)

    @property
    def done(self) -> list[dict[str, Any]]:
        return [run for part in self.parts for run in runs_of(part.groups)]


def _part(dataset: str, groups: list[Group], featured: str) -> Part:
    labels = row_labels(groups)
    named = [g for g in groups if labels[g.row] == featured]
    if named:
        group = max(named, key=lambda g: shots_order(g.shots))
        return Part(dataset, groups, group, group.runs[0], BY_NAME)
    rivals = [g for g in groups if not g.transductive] or groups  # the others saw the whole test
    but = BUT_TRANSDUCTIVE * (len(rivals) < len(groups))
    most = max((g.shots for g in rivals), key=shots_order)
    likely = [g for g in rivals if g.shots == most]
    if len(likely) == 1:
        why = BY_BEING_ALONE if len(groups) == 1 else BY_SHOTS + but
        return Part(dataset, groups, likely[0], likely[0].runs[0], why)
    scores = [_val_accuracy(g) for g in likely]
    if all(score is None for score in scores):
        return Part(dataset, groups, likely[0], likely[0].runs[0], BY_ORDER)
    known = [-1.0 if score is None else score for score in scores]
    group = likely[int(np.argmax(known))]
    return Part(dataset, groups, group, group.runs[0], BY_VAL + but)


def _val_accuracy(group: Group) -> float | None:
    found = [read_val(run["folder"]) for run in group.runs]
    shares = [float(np.mean(v.predicted == v.labels)) for v in found if v is not None and len(v)]
    return float(np.mean(shares)) if shares else None
