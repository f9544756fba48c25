"""What a report is about: the runs below a folder, and of each data set the one shown in detail."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.data.split.patient_grouped import PARTS
from cerviclip.data.split.record import FILE, read_split_record
from cerviclip.evaluation.measures import Home, Sample
from cerviclip.runs.comparison.compare import Comparison, Request, compare
from cerviclip.runs.measured import read_val, sample_of
from cerviclip.runs.predictions import read_predictions
from cerviclip.runs.report.groups import (
    Group,
    group_runs,
    load_runs,
    repeat_of,
    runs_of,
    sweep_order,
)
from cerviclip.runs.report.tables import row_labels
from cerviclip.runs.results_check import check_blocks
from cerviclip.runs.results_json import with_what_was_taken_out
from cerviclip.runs.settings.run_key import Repeat, shots_order
from cerviclip.runs.study_title import shown_name
from dassl.config import read_yaml
from dassl.errors import UserError, did_you_mean
from dassl.paths import is_file

ON_VAL = "the highest mean accuracy on val"
BY_VAL = f"{ON_VAL} among the methods with the most shots"
BY_NAME = "named when this draft was made"
BY_BEING_ALONE = "the only method"
BY_SHOTS = "the only method with the most shots"
BUT_TRANSDUCTIVE = ", without those that have seen the test images"
BUT_WITHOUT_VAL = ", without those that have no predictions of val"
BY_ORDER = "the first of the table, since no run has predictions of val beside what it is scored on"
BY_OTHER_VALS = (
    "the first of the table, since no two methods with the most shots have the same val images, "
    "and val does not rank methods on different images"
)
OF_ONE_VAL = (
    f"{ON_VAL} among {{names}}, whose runs of a seed have the same val images. The other methods "
    "with the most shots have other val images, so val does not rank them beside these; these were "
    "taken {why}"
)
THE_MOST = "because they are the most that share val images"
THE_FIRST = "because they come first in the table among such methods"


@dataclass
class Part:
    """One data set's runs.

    Args:
        dataset: its registered name.
        groups: all of its groups, in the order of the tables.
        featured: the group that is shown in detail.
        run: the first run of it, whose predictions the figures show.
        why: how ``featured`` was chosen; never by test images.
        shown: the centre of a federation that it tells of alone; "" of a whole data set.
        on_val: label -> mean accuracy on val, 0-1, of the methods that val has ranked.
    """

    dataset: str
    groups: list[Group]
    featured: Group
    run: Mapping[str, Any]
    why: str
    shown: str = ""
    on_val: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people are told of the data set, or of the centre."""
        return self.shown or shown_name(self.dataset, runs_of(self.groups))

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
    def run_list(self) -> list[dict[str, Any]]:
        return runs_of(self.groups)

    @property
    def label(self) -> str:
        return row_labels(self.groups)[self.featured.row]

    @property
    def config(self) -> dict[str, Any]:
        path = Path(self.run["folder"]) / "config.yaml"
        return dict(read_yaml(path, "config file")) if is_file(path) else {}

    @cached_property
    def _split_json(self) -> dict[str, Any]:
        path = Path(self.run["folder"]) / FILE
        try:
            return read_split_record(path)
        except (OSError, ValueError):
            return {}

    @property
    def test_rows(self) -> list[dict[str, Any]]:
        """The images that split.json of the run has in test."""
        return list(self._split_json.get("test") or ())

    @cached_property
    def split(self) -> dict[str, Any]:
        """What split.json of the run says of how it was made; {} where there is none."""
        return {key: value for key, value in self._split_json.items() if key not in PARTS}

    @cached_property
    def differences(self) -> list[Comparison] | UserError | None:
        """Its methods in pairs; why they cannot be paired; None of one method."""
        if len({group.row for group in self.groups}) < 2:
            return None
        try:
            return compare(self.groups, Request(self.label, ["accuracy"]))
        except UserError as error:  # runs of a federation's centres, each of a split of its own
            return error

    @property
    def paired(self) -> bool:
        return isinstance(self.differences, list) and bool(self.differences)

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
    def binary(self) -> list[Part]:
        """The data sets that have a positive group."""
        return [part for part in self.parts if part.run["positive_classes"]]

    @property
    def where_binary(self) -> str:
        """`` of A, B`` where data sets without a positive group stand beside them, else ``""``."""
        names = ", ".join(part.name for part in self.binary)
        return f" of {names}" if 0 < len(self.binary) < len(self.parts) else ""

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
    vals = {labels[g.row]: _vals(g) for g in likely}
    known = [g for g in likely if vals[labels[g.row]]]
    if not known:
        return Part(dataset, groups, likely[0], likely[0].runs[0], BY_ORDER)
    sets = _with_one_val(known, [vals[labels[g.row]] for g in known])
    rivals = max(sets, key=len)  # the first of several
    shared = set.intersection(*(set(vals[labels[g.row]]) for g in rivals))
    on_val = {labels[g.row]: _accuracy(vals[labels[g.row]], shared) for g in rivals}
    group = max(rivals, key=lambda g: on_val[labels[g.row]])
    why = BY_VAL
    if len(sets) > 1:
        names = ", ".join(labels[g.row] for g in rivals)
        first = sum(len(one) == len(rivals) for one in sets) > 1
        why = OF_ONE_VAL.format(names=names, why=THE_FIRST if first else THE_MOST)
        why = BY_OTHER_VALS if len(rivals) == 1 else why
    but += BUT_WITHOUT_VAL * (len(known) < len(likely))
    on_val = on_val if len(rivals) > 1 else {}
    return Part(dataset, groups, group, group.runs[0], why + but, on_val=on_val)


@dataclass(frozen=True)
class _Val:
    """One run's val images and its accuracy on them, 0-1."""

    paths: frozenset[str]
    accuracy: float


def _vals(group: Group) -> dict[Repeat, _Val]:
    found = {repeat_of(run): read_val(run["folder"]) for run in group.runs}
    return {
        repeat: _Val(frozenset(v.paths), float(np.mean(v.predicted == v.labels)))
        for repeat, v in found.items()
        if v is not None and len(v)
    }


def _with_one_val(
    groups: Sequence[Group], vals: Sequence[Mapping[Repeat, _Val]]
) -> list[list[Group]]:
    """The groups in sets, within each of which the runs of a fold and seed have the same val
    images. Only such are ranked by val: images of other centres may be easier."""
    sets: list[tuple[list[Group], dict[Repeat, frozenset[str]]]] = []
    for group, own in zip(groups, vals, strict=True):
        images = {repeat: val.paths for repeat, val in own.items()}
        for members, common in sets:
            shared = images.keys() & common.keys()
            if shared and all(images[repeat] == common[repeat] for repeat in shared):
                members.append(group)
                for repeat in [repeat for repeat in common if repeat not in shared]:
                    del common[repeat]
                break
        else:
            sets.append(([group], images))
    return [members for members, _ in sets]


def _accuracy(vals: Mapping[Repeat, _Val], repeats: Collection[Repeat]) -> float:
    return float(np.mean([vals[repeat].accuracy for repeat in repeats]))
