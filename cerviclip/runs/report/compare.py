"""One method against each other by patients: paired differences with their intervals.

Two methods scored on the same images err on the same hard patients, so their difference is known
better than two separate intervals suggest. Each resample draws the patients of a centre once, for
both methods and for all seeds, and averages over the seeds. The interval holds the chance of
patients; it does not hold that of seeds, nor that of looking at many pairs.

Letters: R resamples, S runs (one a seed).
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.evaluation.bootstrap import (
    MIN_PATIENTS,
    SEED,
    confusion_metrics,
    intervals,
    patient_draws,
    patient_indices,
)
from cerviclip.evaluation.names import IN_DOMAIN
from cerviclip.evaluation.report import FEW_PATIENTS, undefined
from cerviclip.runs.report.tables import Group, row_labels, shots_order
from dassl.errors import UserError, did_you_mean

COMPARABLE = ("accuracy", "balanced_accuracy", "macro_f1")  # the predicted classes decide these
NO_SEED = "the two methods share no seed"
NO_PREDICTIONS = "a run has no predictions of this centre"
OTHER_IMAGES = "the runs were not scored on the same images and classes"


@dataclass(frozen=True)
class Scored:
    """One run on one centre."""

    images: tuple[tuple[str, ...], ...]  # the classes, then (path, patient, label) by path
    samples: dict[str, np.ndarray]  # metric -> (1 + R,): the point value, then each resample's;
    # the point value alone where patients are too few


@dataclass(frozen=True)
class Comparison:
    """One method minus another at one number of shots, in percentage points."""

    against: str
    label: str
    ours: Group
    other: Group
    shots: int | str
    metric: str
    seeds: list[int]
    fewer_seeds: bool
    centers: dict[str, dict[str, Any]]  # a centre, or a mean of centres -> value low high [reason]

    @property
    def read_early(self) -> bool:
        return self.ours.read_early or self.other.read_early


def check_comparable(metric: str) -> str:
    """The metric's name if differences of it can be computed."""
    if metric in COMPARABLE:
        return metric
    raise UserError(f"no comparison of {metric!r}, but of {', '.join(COMPARABLE)}")


# -- one run ------------------------------------------------------------------------------------


def score_run(folder: str | Path) -> dict[str, Scored]:
    """Each centre of a run's predictions.csv; empty where the run has no such file."""
    path = Path(folder) / "predictions.csv"
    by_center: dict[str, list[tuple[str, ...]]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            reader = csv.reader(handle)
            head = next(reader)
            for row in reader:
                if len(row) != len(head):
                    raise ValueError(f"line {reader.line_num} has {len(row)} columns")
                by_center.setdefault(row[0], []).append(tuple(row[1:5]))
        classes = tuple(column.removeprefix("p_") for column in head[5:])
        return {name: score_center(name, rows, classes) for name, rows in by_center.items()}
    except FileNotFoundError:
        return {}
    except (StopIteration, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a run's predictions ({error!r}); run it again") from error


def score_center(center: str, rows: Sequence[tuple[str, ...]], classes: tuple[str, ...]) -> Scored:
    """A centre's metrics on all its patients, then on each resample of them.

    Args:
        center: its name also seeds the draws: two centres with as many patients are independent.
        rows: (path, patient id, class, predicted class) of each image, in any order.
        classes: all class names.
    """
    rows = sorted(rows)  # so that patients have the same numbers in every run
    number = {name: c for c, name in enumerate(classes)}
    labels = np.array([number[row[2]] for row in rows], dtype=np.int64)
    predictions = np.array([number[row[3]] for row in rows], dtype=np.int64)
    patients, n_patients = patient_indices([row[1] for row in rows], len(rows))
    weights = np.ones((1, n_patients))
    if n_patients >= MIN_PATIENTS:
        draws = patient_draws(n_patients, seed=SEED + zlib.crc32(center.encode()))
        weights = np.concatenate([weights, draws])
    metrics = confusion_metrics(labels, predictions, patients, weights, len(classes))
    images = (classes, *(row[:3] for row in rows))
    return Scored(images, {name: metrics[name] for name in COMPARABLE})


class ScoredRuns(dict[str, dict[str, Scored]]):
    """Folder -> ``score_run`` of it, each file read once and only when it is asked for."""

    def __missing__(self, folder: str) -> dict[str, Scored]:
        self[folder] = score_run(folder)
        return self[folder]


# -- two methods --------------------------------------------------------------------------------


def compare(
    groups: Sequence[Group], against: str, metrics: Sequence[str], centers: Sequence[str] = ()
) -> list[Comparison]:
    """``against`` minus each other method of its data sets, at each number of shots.

    Args:
        groups: of ``tables.group_runs``, their runs with ``folder``.
        against: a row's label as the tables print it.
        metrics: of ``COMPARABLE``.
        centers: external centres whose mean is wanted; none named: all.
    """
    datasets: dict[str, list[Group]] = {}
    for group in groups:
        datasets.setdefault(group.dataset, []).append(group)
    labels = dict.fromkeys(v for part in datasets.values() for v in row_labels(part).values())
    if against not in labels:
        hint = did_you_mean(against, labels)
        raise UserError(f"no runs of {against!r}{hint} (known: {', '.join(labels)})")
    external = dict.fromkeys(c for g in groups for c in g.centers if c != IN_DOMAIN)
    for name in centers:
        if name not in external:
            known = ", ".join(external) or "none"
            raise UserError(f"no external centre {name!r} in these runs (known: {known})")
    parts = [part for part in datasets.values() if against in row_labels(part).values()]
    return [c for part in parts for c in _compare_dataset(part, against, metrics, centers)]


def _compare_dataset(
    groups: Sequence[Group], against: str, metrics: Sequence[str], wanted: Sequence[str]
) -> list[Comparison]:
    check_splits(groups)
    labels = row_labels(groups)
    cells = {(labels[g.row], g.shots): g for g in groups}
    centers = list(dict.fromkeys(c for g in groups for c in g.centers))
    means = [c for c in centers if c != IN_DOMAIN and (not wanted or c in wanted)]
    most, scored, out = max(len(g.runs) for g in groups), ScoredRuns(), []
    for label in (name for name in labels.values() if name != against):
        for k in sorted({g.shots for g in groups} - {0}, key=shots_order) or [0]:
            ours = cells.get((against, k)) or cells.get((against, 0))
            other = cells.get((label, k)) or cells.get((label, 0))
            if ours is None or other is None:
                continue
            first, second, seeds = paired_runs(ours, other)
            fewer = len(seeds) < most and seeds != [0]
            for metric in metrics:
                entries = _entries(first, second, scored, metric, centers, means)
                pair = (against, label, ours, other, k, metric, seeds, fewer, entries)
                out.append(Comparison(*pair))
    return out


def check_splits(groups: Sequence[Group]) -> None:
    """Refuse runs of one data set that were trained and tested on different splits of it."""
    first: dict[str, str] = {}
    for run in (run for group in groups for run in group.runs):
        if run.get("split_hash"):
            first.setdefault(run["split_hash"], run["folder"])
    if len(first) > 1:
        one, two = list(first.values())[:2]
        raise UserError(
            f"{one} and {two} are on different splits of {groups[0].dataset} (split_hash): "
            "their patients cannot be paired; give a folder whose runs share one split"
        )


def paired_runs(ours: Group, other: Group) -> tuple[list[dict], list[dict], list[int]]:
    """The runs of the seeds that both have, and these seeds; what trains nothing suits each."""
    if ours.shots == 0 or other.shots == 0:
        trained = other if ours.shots == 0 else ours
        return ours.runs, other.runs, [run["seed"] for run in trained.runs]
    common = {run["seed"] for run in ours.runs} & {run["seed"] for run in other.runs}
    first, second = ([r for r in g.runs if r["seed"] in common] for g in (ours, other))
    return first, second, sorted(common)


def _entries(
    ours: Sequence[Mapping[str, Any]],
    other: Sequence[Mapping[str, Any]],
    scored: ScoredRuns,
    metric: str,
    centers: Sequence[str],
    means: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """The difference on each centre and, of several external centres, on their mean."""
    samples = {}
    for center in centers:
        first, second = (
            [scored[run["folder"]].get(center) for run in runs] for runs in (ours, other)
        )
        samples[center] = difference(first, second, metric)
    if len(means) > 1:
        samples[f"mean of {', '.join(means)}"] = mean_difference({c: samples[c] for c in means})
    return {name: interval_entry(values) for name, values in samples.items()}


def difference(
    ours: Sequence[Scored | None], other: Sequence[Scored | None], metric: str
) -> np.ndarray | str:
    """(1 + R,) mean over one method's runs minus that over the other's, or why there is none."""
    runs = [run for run in (*ours, *other) if run is not None]
    if not ours or not other:
        return NO_SEED
    if len(runs) < len(ours) + len(other):
        return NO_PREDICTIONS
    if any(run.images != runs[0].images for run in runs):
        return OTHER_IMAGES
    samples = np.stack([run.samples[metric] for run in runs])  # (S, 1 + R)
    return samples[: len(ours)].mean(axis=0) - samples[len(ours) :].mean(axis=0)


def mean_difference(parts: Mapping[str, np.ndarray | str]) -> np.ndarray | str:
    """The mean over centres, each with draws of its own; one centre without a value forbids it."""
    arrays = []
    for center, values in parts.items():
        if isinstance(values, str):
            return f"{center}: {values}"
        arrays.append(values)
    shortest = min(len(values) for values in arrays)  # 1 where patients are too few
    return np.mean([values[:shortest] for values in arrays], axis=0)


def interval_entry(values: np.ndarray | str) -> dict[str, Any]:
    """``value low high`` of a point value and its resamples, and a ``reason`` for every null."""
    if isinstance(values, str):
        return undefined(values)
    if len(values) == 1:
        return undefined(FEW_PATIENTS) | {"value": float(values[0])}
    low, high = intervals(values[1:, None])[:, 0]
    return {"value": float(values[0]), "low": float(low), "high": float(high)}
