"""What one model or reader says of a centre's images, in an order that all share.

Letters: B images, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.data.centers.coarse import POSITIVE, is_coarse, label_name
from cerviclip.evaluation.bootstrap import patient_indices
from cerviclip.evaluation.comparing.quantities import (
    CALL,
    CLASS,
    POINT,
    PROBS,
    SCORE,
    Quantity,
)
from cerviclip.evaluation.groups_only import WHY as NO_CLASSES
from cerviclip.evaluation.measures.patients import is_order
from cerviclip.evaluation.names import NO_POSITIVE_CLASSES, WHOLE_POSITIVE_GROUP
from cerviclip.runs.predictions import NEW_PREDICTIONS, Predictions, read_predictions
from cerviclip.runs.report.groups import NEW, fold_of
from cerviclip.runs.report.titles import title_of
from cerviclip.runs.results_check import check_blocks
from cerviclip.runs.results_shape import COMPARED

_SURE, _UNSURE = 0.75, 0.25  # columns of a verdict: only which is greater counts


@dataclass(frozen=True)
class Outputs:
    """Verdicts on one centre's images, sorted by path.

    Args:
        center: its name.
        paths: (B,) of the images.
        patient_ids: (B,) ids, "" where unknown.
        labels: (B,) true classes; negative where the centre knows the positive group alone.
        classnames: (C,) in label order.
        positive: class names of the positive group.
        probs: (B, C); None of a reader.
        predicted: (B,) class numbers; None if no class is told.
        said: (B,) true where called positive; None if that is not told.
        score: (B,) rises with the suspicion of the positive group; None if there is none.
        called: operating point -> (B,) true where called positive.
        order: the classes from the mildest to the worst; empty if they have no order.
    """

    center: str
    paths: tuple[str, ...]
    patient_ids: tuple[str, ...]
    labels: np.ndarray
    classnames: tuple[str, ...]
    positive: tuple[str, ...] = ()
    probs: np.ndarray | None = None
    predicted: np.ndarray | None = None
    said: np.ndarray | None = None
    score: np.ndarray | None = None
    called: Mapping[str, np.ndarray] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def images(self) -> list[tuple[str, str, str]]:
        """(path, patient, label) of each image."""
        names = [label_name(label, self.classnames) for label in self.labels]
        return list(zip(self.paths, self.patient_ids, names, strict=True))

    @cached_property
    def patients(self) -> np.ndarray:
        """(B,) patient numbers from 0; an image without an id is a patient of its own."""
        return patient_indices(self.patient_ids, len(self))[0]

    @cached_property
    def is_positive(self) -> np.ndarray:
        if is_coarse(self.labels):
            return self.labels == POSITIVE
        return np.isin(self.classnames, self.positive)[self.labels]

    def truth(self, quantity: Quantity) -> np.ndarray:
        """(B,) labels as the quantity's statistic takes them."""
        if quantity.for_groups:
            return self.is_positive.astype(np.int64)
        if quantity.of_class and quantity.needs == PROBS:
            return (self.labels == self.classnames.index(quantity.of_class)).astype(np.int64)
        return self.labels

    def why_not(self, quantity: Quantity) -> str:
        """Why the quantity is not to be had of these images; "" if it is."""
        if is_coarse(self.labels) and not quantity.for_groups:
            return NO_CLASSES
        if quantity.for_groups and not self.positive:
            return NO_POSITIVE_CLASSES
        if quantity.for_groups and set(self.positive) >= set(self.classnames):
            return WHOLE_POSITIVE_GROUP
        if quantity.name == "quadratic_kappa" and not is_order(self.order, self.classnames):
            return "the data set declares no order of its classes"
        if self.scores(quantity) is None:
            name = title_of(quantity.name)
            return f"{name} needs {quantity.needs}, which one of the two does not give"
        return ""

    def scores(self, quantity: Quantity) -> np.ndarray | None:
        """(B,) or (B, columns) as the quantity's statistic takes them; None if not given."""
        if quantity.needs == POINT:
            return _columns(self.called.get(quantity.point))
        if quantity.needs == CALL:
            return _columns(self.said)
        if quantity.needs == SCORE:
            # Only ranks are asked of a reader's score; the rest needs a probability.
            ranks = quantity.name.endswith(("auc", "auprc"))
            return self.score if ranks or self.probs is not None else None
        if self.probs is not None:
            of_class = quantity.of_class if quantity.needs == PROBS else ""
            return self.probs[:, self.classnames.index(of_class)] if of_class else self.probs
        if quantity.needs == CLASS and self.predicted is not None:
            sure = np.eye(len(self.classnames))[self.predicted]
            return _UNSURE + (_SURE - _UNSURE) * sure
        return None

    def take(self, chosen: np.ndarray) -> Outputs:
        """Those of some images, in any order: (B,) true where an image stays, or places."""
        at = np.flatnonzero(chosen) if chosen.dtype == bool else chosen

        def of(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[at]

        return replace(
            self,
            paths=tuple(self.paths[i] for i in at),
            patient_ids=tuple(self.patient_ids[i] for i in at),
            labels=self.labels[at],
            probs=of(self.probs),
            predicted=of(self.predicted),
            said=of(self.said),
            score=of(self.score),
            called={name: values[at] for name, values in self.called.items()},
        )

    def same_verdicts(self, other: Outputs) -> bool:
        """Whether both say exactly the same of every image."""
        one, two = ([o.probs, o.predicted, o.said, o.score] for o in (self, other))
        return all(
            (a is None) == (b is None) and (a is None or np.array_equal(a, b))
            for a, b in zip(one, two, strict=True)
        )


def _columns(called: np.ndarray | None) -> np.ndarray | None:
    if called is None:
        return None
    yes = np.where(called, _SURE, _UNSURE)
    return np.stack([1 - yes, yes], axis=1)


class OutputsOfRuns(dict[tuple[str, ...], dict[str, list[Outputs]]]):
    """Folders of one seed's folds -> each centre's outputs; read when asked for, and once.

    Args:
        runs: contents of results.json, with ``folder``.
    """

    def __init__(self, runs: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.by_folder = {str(run["folder"]): run for run in runs}

    def __missing__(self, folders: tuple[str, ...]) -> dict[str, list[Outputs]]:
        by_center: dict[str, list[Outputs]] = {}
        for folder in folders:
            for found in _outputs_in(self.by_folder[folder]):
                by_center.setdefault(found.center, []).append(found)
        self[folders] = {
            center: in_folds(parts)
            for center, parts in by_center.items()
            if len(parts) == len(folders)
        }
        return self[folders]

    def of(self, runs: Sequence[Mapping[str, Any]], center: str) -> list[Outputs | None]:
        """Of a group's runs, those of one seed's folds together; None without predictions."""
        folders: dict[tuple[int, int], list[str]] = {}  # of a seed and a way of dealing into folds
        for run in runs:
            key = (run["seed"], fold_of(run["fold"]).repeat)
            folders.setdefault(key, []).append(str(run["folder"]))
        found: list[Outputs | None] = []
        for of_seed in folders.values():
            found += self[tuple(of_seed)].get(center) or [None]
        return found


def in_folds(parts: Sequence[Outputs]) -> list[Outputs]:
    """One centre's outputs by the models of one seed's folds.

    Returns:
        One of all images together; one of each fold where all saw the same images.
    """
    if all(sorted(part.paths) == sorted(parts[0].paths) for part in parts):
        return list(parts)
    return [_sorted(_joined(parts))]


def _joined(parts: Sequence[Outputs]) -> Outputs:
    first = parts[0]
    points = set.intersection(*(set(part.called) for part in parts))

    def together(values: Sequence[np.ndarray | None]) -> np.ndarray | None:
        there = [value for value in values if value is not None]
        return np.concatenate(there) if len(there) == len(parts) else None

    return replace(
        first,
        paths=tuple(path for part in parts for path in part.paths),
        patient_ids=tuple(patient for part in parts for patient in part.patient_ids),
        labels=np.concatenate([part.labels for part in parts]),
        probs=together([part.probs for part in parts]),
        predicted=together([part.predicted for part in parts]),
        said=together([part.said for part in parts]),
        score=together([part.score for part in parts]),
        called={p: np.concatenate([part.called[p] for part in parts]) for p in points},
    )


def _sorted(outputs: Outputs) -> Outputs:
    """By path, so that patients have the same numbers in every run."""
    of = outputs
    order = sorted(range(len(of)), key=lambda i: (of.paths[i], of.patient_ids[i], of.labels[i]))
    return of.take(np.array(order, dtype=np.int64))


def _outputs_in(run: Mapping[str, Any]) -> list[Outputs]:
    """Of every centre of a run's files, new classes included."""
    check_blocks(run, run["folder"], COMPARED)
    found: list[Predictions] = []
    for name in ("", NEW_PREDICTIONS):
        try:
            found += read_predictions(Path(run["folder"]) / name)
        except FileNotFoundError:
            continue
    points = (run.get("operating_points") or {}).get("points", {})
    chosen = {name: point["threshold"] for name, point in points.items()}
    order = tuple((run.get("measured_with") or {}).get("order", ()))
    positive = run.get("positive_classes") or ()
    return [of_predictions(p, positive, {} if p.center == NEW else chosen, order) for p in found]


def of_predictions(
    predictions: Predictions,
    positive: Sequence[str] = (),
    thresholds: Mapping[str, float | None] | None = None,
    order: Sequence[str] = (),
) -> Outputs:
    """A model's outputs on one centre.

    Args:
        predictions: of the centre.
        positive: class names of the positive group.
        thresholds: operating point -> least probability that is called positive.
        order: the classes from the mildest to the worst.
    """
    p = predictions
    here = tuple(name for name in p.classnames if name in positive)
    group = np.isin(p.classnames, here)
    score = np.clip(p.probs[:, group].sum(axis=1), 0.0, 1.0)
    chosen = {name: t for name, t in (thresholds or {}).items() if t is not None}
    return _sorted(
        Outputs(
            center=p.center,
            paths=tuple(p.paths),
            patient_ids=tuple(p.patient_ids),
            labels=p.labels,
            classnames=tuple(p.classnames),
            positive=here,
            probs=p.probs,
            predicted=p.predicted,
            said=group[p.predicted],
            score=score,
            called={name: score >= threshold for name, threshold in chosen.items()},
            order=tuple(order),
        )
    )
