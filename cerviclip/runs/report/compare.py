"""One method against each other by patients: paired differences with their intervals.

Two methods scored on the same images err on the same hard patients, so their difference is known
better than two separate intervals suggest. Each resample draws the patients of a centre once, for
both methods and for all seeds, and averages over the seeds. The interval holds the chance of
patients; it does not hold that of seeds, nor that of looking at many pairs.

The runs of one seed on several folds count as one: their test images are put together, since each
is in the test set of one fold only. At a centre where all folds saw the same images, each fold
counts as a run of its own.

Letters: R resamples, S scores (one a seed, or one a fold and seed).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cerviclip.data.coarse import is_coarse
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
from cerviclip.runs.predictions import Predictions, pooled, read_predictions
from cerviclip.runs.report.groups import (
    Group,
    fold_of,
    in_tables,
    most_runs,
    repeat_of,
    split_hashes,
)
from cerviclip.runs.report.tables import row_labels
from cerviclip.runs.settings.run_key import Repeat, Shots, shots_order
from dassl.errors import UserError, did_you_mean

COMPARABLE = ("accuracy", "balanced_accuracy", "macro_f1")  # the predicted classes decide these
NO_REPEAT = "the two methods share no seed (or no fold)"
NO_PREDICTIONS = "a run has no predictions of this centre, or the centre knows no classes"
OTHER_IMAGES = "the runs were not scored on the same images and classes"


@dataclass(frozen=True)
class CenterScores:
    """One model's scores on one centre: on all its patients and on each resample of them."""

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
    shots: Shots
    metric: str
    repeats: list[Repeat]  # of the runs that were compared
    fewer_runs: bool
    centers: dict[str, dict[str, Any]]  # a centre, or a mean of centres -> value low high [reason]

    @property
    def seeds(self) -> list[int]:
        return sorted({repeat.seed for repeat in self.repeats})

    @property
    def read_early(self) -> bool:
        return self.ours.read_early or self.other.read_early


def check_comparable(metric: str) -> str:
    """The metric's name if differences of it can be computed."""
    if metric in COMPARABLE:
        return metric
    raise UserError(f"no comparison of {metric!r}, but of {', '.join(COMPARABLE)}")


# -- one run ------------------------------------------------------------------------------------


def score_center(predictions: Predictions) -> CenterScores:
    """A centre's metrics on all its patients, then on each resample of them.

    The centre's name also seeds the draws: two centres with as many patients are independent.
    """
    p, classes = predictions, predictions.classnames
    order = sorted(range(len(p)), key=lambda i: (p.paths[i], p.patient_ids[i], p.labels[i]))
    # Sorted, so that patients have the same numbers in every run.
    labels, predicted = p.labels[order], p.predicted[order]
    patients, n_patients = patient_indices([p.patient_ids[i] for i in order], len(p))
    weights = np.ones((1, n_patients))
    if n_patients >= MIN_PATIENTS:
        draws = patient_draws(n_patients, seed=SEED + zlib.crc32(p.center.encode()))
        weights = np.concatenate([weights, draws])
    metrics = confusion_metrics(labels, predicted, patients, weights, len(classes))
    images = [(p.paths[i], p.patient_ids[i], classes[p.labels[i]]) for i in order]
    return CenterScores((classes, *images), {name: metrics[name] for name in COMPARABLE})


def score_folds(parts: Sequence[Predictions]) -> list[CenterScores]:
    """One centre's predictions by the models of one seed's folds.

    Returns:
        One score of all images together; one of each fold where all saw the same images.
    """
    if all(sorted(part.paths) == sorted(parts[0].paths) for part in parts):
        return [score_center(part) for part in parts]
    return [score_center(pooled(parts))]


class ScoredRuns(dict[tuple[str, ...], dict[str, list[CenterScores]]]):
    """Folders of one seed's folds -> each centre's scores; read when it is asked for, and once.

    A centre is left out that one of the folds has no predictions of, or that knows no classes.
    """

    def __missing__(self, folders: tuple[str, ...]) -> dict[str, list[CenterScores]]:
        by_center: dict[str, list[Predictions]] = {}
        for predictions in (p for folder in folders for p in _predictions_in(folder)):
            if is_coarse(predictions.labels):  # there are no classes to compare
                continue
            by_center.setdefault(predictions.center, []).append(predictions)
        self[folders] = {
            center: score_folds(parts)
            for center, parts in by_center.items()
            if len(parts) == len(folders)
        }
        return self[folders]


def _predictions_in(folder: str) -> list[Predictions]:
    try:
        return read_predictions(folder)
    except FileNotFoundError:
        return []


# -- two methods --------------------------------------------------------------------------------


def compare(
    groups: Sequence[Group], against: str, metrics: Sequence[str], centers: Sequence[str] = ()
) -> list[Comparison]:
    """``against`` minus each other method of its tables, at each number of shots.

    A transductive method is compared with transductive ones, and the others with each other.

    Args:
        groups: of ``groups.group_runs``, their runs with ``folder``.
        against: a row's label as the tables print it.
        metrics: of ``COMPARABLE``.
        centers: external centres whose mean is wanted; none named: all.
    """
    tables = in_tables(groups)
    labels = dict.fromkeys(v for part in tables for v in row_labels(part).values())
    if against not in labels:
        hint = did_you_mean(against, labels)
        raise UserError(f"no runs of {against!r}{hint} (known: {', '.join(labels)})")
    external = dict.fromkeys(c for g in groups for c in g.predicted_centers if c != IN_DOMAIN)
    for name in centers:
        if name not in external:
            known = ", ".join(external) or "none"
            raise UserError(f"no external centre {name!r} in these runs (known: {known})")
    parts = [part for part in tables if against in row_labels(part).values()]
    if len(labels) > 1 and all(len(row_labels(part)) == 1 for part in parts):
        kind = "transductive" if parts[0][0].transductive else "inductive"
        raise UserError(f"{against} is the only {kind} method of its data sets: none to compare")
    return [c for part in parts for c in _compare_dataset(part, against, metrics, centers)]


def _compare_dataset(
    groups: Sequence[Group], against: str, metrics: Sequence[str], wanted: Sequence[str]
) -> list[Comparison]:
    check_splits(groups)
    labels = row_labels(groups)
    cells = {(labels[g.row], g.shots): g for g in groups}
    centers = list(dict.fromkeys(c for g in groups for c in g.predicted_centers))
    means = [c for c in centers if c != IN_DOMAIN and (not wanted or c in wanted)]
    most, scored, out = most_runs(groups), ScoredRuns(), []
    for label in (name for name in labels.values() if name != against):
        for k in sorted({g.shots for g in groups} - {0}, key=shots_order) or [0]:
            ours = cells.get((against, k)) or cells.get((against, 0))
            other = cells.get((label, k)) or cells.get((label, 0))
            if ours is None or other is None:
                continue
            first, second, repeats = paired_runs(ours, other)
            idle = ours.shots == other.shots == 0
            fewer = len(repeats) < most[ours.folds] and not idle
            for metric in metrics:
                entries = _center_differences(first, second, scored, metric, centers, means)
                pair = (against, label, ours, other, k, metric, repeats, fewer, entries)
                out.append(Comparison(*pair))
    return out


def check_splits(groups: Sequence[Group]) -> None:
    """Refuse runs of one data set, and of one fold, that were trained and tested on different
    splits of it."""
    for folders in split_hashes(groups):
        if len(folders) > 1:
            one, two = list(folders.values())[:2]
            raise UserError(
                f"{one} and {two} are on different splits of {groups[0].dataset} (split_hash): "
                "their patients cannot be paired; give a folder whose runs share one split"
            )


def paired_runs(ours: Group, other: Group) -> tuple[list[dict], list[dict], list[Repeat]]:
    """The runs of the folds and seeds that both have, and these; what trains nothing suits each
    seed."""
    idle = 0 in (ours.shots, other.shots)

    def what_pairs(repeat: Repeat) -> Repeat:
        return repeat._replace(seed=0) if idle else repeat

    common = {what_pairs(r) for r in ours.repeats} & {what_pairs(r) for r in other.repeats}
    first, second = (
        [run for run in group.runs if what_pairs(repeat_of(run)) in common]
        for group in (ours, other)
    )
    trained = second if ours.shots == 0 else first
    return first, second, [repeat_of(run) for run in trained]


def _center_differences(
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
        first, second = (_scores_of(runs, center, scored) for runs in (ours, other))
        samples[center] = difference(first, second, metric)
    if len(means) > 1:
        samples[f"mean of {', '.join(means)}"] = mean_difference({c: samples[c] for c in means})
    return {name: interval_entry(values) for name, values in samples.items()}


def _scores_of(
    runs: Sequence[Mapping[str, Any]], center: str, scored: ScoredRuns
) -> list[CenterScores | None]:
    """The scores of a group's runs on a centre, those of one seed's folds together; None for what
    has no predictions of it."""
    folders: dict[tuple[int, int], list[str]] = {}  # of a seed and a way of dealing into folds
    for run in runs:
        key = (run["seed"], fold_of(run["fold"]).repeat)
        folders.setdefault(key, []).append(run["folder"])
    found: list[CenterScores | None] = []
    for of_seed in folders.values():
        found += scored[tuple(of_seed)].get(center) or [None]
    return found


def difference(
    ours: Sequence[CenterScores | None], other: Sequence[CenterScores | None], metric: str
) -> np.ndarray | str:
    """(1 + R,) mean over one method's runs minus that over the other's, or why there is none."""
    runs = [run for run in (*ours, *other) if run is not None]
    if not ours or not other:
        return NO_REPEAT
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
