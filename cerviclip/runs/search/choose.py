"""Which settings a search has found best for each trainer, and what that has cost. Needs torch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip.data.split.record import read_split_record
from cerviclip.runs.predictions import read_predictions
from cerviclip.runs.report.groups import check_metric, metric_value
from cerviclip.runs.results_json import read_results
from cerviclip.runs.settings.files.sweep_file import (
    TrainerEntry,
    find_sweep,
    listed,
    read_entries,
    read_sweep,
)
from cerviclip.runs.settings.plan import make_plan, named_entry
from cerviclip.runs.settings.requests import SweepRequest
from cerviclip.runs.sweep.command import PlannedRun, chosen_runs
from dassl.errors import UserError

SCORED = "val"  # TEST.SPLIT of a search, and the name of its centre
_LOW_IS_GOOD = ("ece",)


@dataclass(frozen=True)
class Tried:
    """One setting of a trainer: its variant, overrides and score in each run."""

    name: str
    opts: dict[str, Any]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores)


@dataclass(frozen=True)
class Choice:
    """What was tried for one trainer, and which of it is best."""

    trainer: str
    tried: tuple[Tried, ...]
    best: Tried
    labels: int  # labelled images that any of the runs has drawn or scored

    @property
    def edge(self) -> list[str]:
        """The keys whose chosen number is the smallest or largest that was tried."""
        found = []
        for key in self.best.opts:
            values = {_number(tried.opts.get(key)) for tried in self.tried}
            numbers = [value for value in values if value is not None]
            ends = (min(numbers, default=None), max(numbers, default=None))
            if len(numbers) == len(values) > 1 and _number(self.best.opts[key]) in ends:
                found.append(key)
        return found


def choose(
    sweep: str,
    output_dir: str = "",
    metric: str = "accuracy",
    plugins: Sequence[str] = (),
    variant: str = "",
) -> list[Choice]:
    """The best setting of each trainer of a finished search, by the mean over its runs.

    Args:
        sweep: its yaml; its runs are scored on val (``TEST.SPLIT: val``).
        output_dir: where its runs lie.
        metric: of the tables.
        plugins: as the search had them.
        variant: as the search had it.

    Raises:
        UserError: a run is missing, has failed, was scored on test images, or has no such score; or
            entries of one trainer differ in what a file of settings has no place for.
    """
    check_metric(metric)
    request = SweepRequest(
        sweep=sweep, output_dir=output_dir, plugins=tuple(plugins), variant=variant
    )
    runs = chosen_runs(make_plan(request))
    _check_finished(f"{sweep} --variant {variant}" if variant else sweep, runs)
    path = find_sweep(sweep)
    entries = [
        named_entry(entry, variant)
        for item in listed(read_sweep(path), "trainers")
        for entry in read_entries(item, path)
    ]
    _check_opts_alone_differ(path, entries)
    return [
        _choice(trainer, [e for e in entries if e.trainer == trainer], runs, metric)
        for trainer in dict.fromkeys(entry.trainer for entry in entries)
    ]


def _number(value: Any) -> float | None:
    """A value as a number, also where yaml reads text, as of 1e-3; None for others."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _check_opts_alone_differ(path: Path, entries: Sequence[TrainerEntry]) -> None:
    """Refuse a search whose choice would lose what it was made among."""
    for key in ("config", "backbone", "weights"):
        values: dict[str, str] = {}
        for entry in entries:
            value = getattr(entry, key)
            if values.setdefault(entry.trainer, value) != value:
                raise UserError(
                    f"the entries of {entry.trainer} in {path} differ in '{key}', and settings are "
                    "overrides alone; write it as opts, or make a search of each"
                )


def _check_finished(sweep: str, runs: Sequence[PlannedRun]) -> None:
    missing = [run for run in runs if run.state != "done"]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(runs)} runs of {sweep} are not finished (such as "
            f"{missing[0].folder}); make them first: cerviclip sweep --sweep {sweep}"
        )
    on_test = [run for run in runs if run.cfg.TEST.SPLIT != SCORED]
    if on_test:
        raise UserError(
            f"{on_test[0].folder} is scored on the {on_test[0].cfg.TEST.SPLIT} set, which must not "
            "choose settings; give the search 'opts: {TEST.SPLIT: val}'"
        )


def _choice(
    trainer: str, entries: Sequence[TrainerEntry], runs: Sequence[PlannedRun], metric: str
) -> Choice:
    tried = []
    labelled: set[tuple[str, str]] = set()
    for entry in entries:
        own = [run for run in runs if (run.spec.trainer, run.spec.variant) == (trainer, entry.name)]
        if not own:
            raise UserError(
                f"the search has no plain run of {trainer} ({entry.name}) to choose by; search "
                "without base_to_new"
            )
        scores = tuple(_score(run.folder, metric) for run in own)
        opts = dict(zip(entry.opts[::2], entry.opts[1::2], strict=True))
        tried.append(Tried(entry.name, opts, scores))
        for run in own:
            labelled |= {(run.spec.dataset, path) for path in _labelled(run.folder)}
    sign = -1 if metric in _LOW_IS_GOOD else 1
    best = max(tried, key=lambda one: sign * one.mean)  # the first of equal ones
    return Choice(trainer, tuple(tried), best, len(labelled))


def _score(folder: Path, metric: str) -> float:
    results = read_results(folder) or {}
    value = metric_value(results.get("centers", {}).get(SCORED), metric)
    if value is None:
        raise UserError(f"{folder} has no {metric} to choose by; name another --metric")
    return float(value)


def _labelled(folder: Path) -> set[str]:
    """Images whose label a run has used: drawn for training and val, and those it was scored on."""
    record = read_split_record(folder / "split.json")
    drawn = {str(row["path"]) for part in ("train", "val") for row in record[part]}
    scored = next(p for p in read_predictions(folder) if p.center == SCORED)
    return drawn | set(scored.paths)
