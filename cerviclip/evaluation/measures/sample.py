"""What every measure takes: the predictions of one centre, and the settings of the run.

Letters: B images, C classes, P patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from cerviclip.counted import counted
from cerviclip.data.centers.coarse import class_stand_ins, is_coarse
from cerviclip.evaluation.bootstrap import MIN_PATIENTS, patient_indices
from cerviclip.evaluation.intervals import proportion_intervals
from cerviclip.evaluation.names import (
    EACH_IMAGE,
    NO_POSITIVE_CLASSES,
    SUM_TOLERANCE,
    WHOLE_POSITIVE_GROUP,
)

LEVEL = 0.95  # of every interval
FEWEST_EVENTS = 10  # patients with the event, or without; fewer: a note
FEW_PATIENTS = f"an interval needs at least {MIN_PATIENTS} patients"


@dataclass(frozen=True)
class Settings:
    """What a user states, and what the data set declares of its classes.

    Args:
        patient_rule: how a patient's images become one prediction; one of ``PATIENT_RULES``.
        miss_cost: how many false alarms one missed positive is worth; 0 if none is stated.
        prevalences: shares of positives for which PPV and NPV are given.
        coverage: share of images whose prediction set is to hold the true class.
        order: the classes from the mildest to the worst; empty if they have no order.
        levels: class -> the nodes of a tree from the top to the class, "" below it.
    """

    patient_rule: str = "mean"
    miss_cost: float = 0.0
    prevalences: tuple[float, ...] = (0.01, 0.05, 0.2)
    coverage: float = 0.9
    order: tuple[str, ...] = ()
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As ``measured_with`` of results.json has it."""
        lists = {"prevalences": list(self.prevalences), "order": list(self.order)}
        levels = {name: list(nodes) for name, nodes in self.levels.items()}
        return asdict(self) | lists | {"levels": levels}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """The inverse of ``to_json``; other keys of ``measured_with`` are left out."""
        known = {key: values[key] for key in cls.__dataclass_fields__ if key in values}
        for key in ("prevalences", "order"):
            if key in known:
                known[key] = tuple(known[key])
        return cls(**known)


@dataclass(frozen=True)
class Sample:
    """Predictions of one centre.

    Args:
        center: its name.
        labels: (B,) true classes.
        probs: (B, C) class probabilities; the predicted class is the most probable one.
        patients: (B,) patient numbers from 0.
        classnames: (C,) in label order.
        positive: class names of the positive group; empty for none.
        known: patient ids are known; else each image counts as a patient of its own.
        groups_only: the labels tell the positive group alone. Then one class of each group stands
            for all of it, and nothing but the group may be measured.
    """

    center: str
    labels: np.ndarray
    probs: np.ndarray
    patients: np.ndarray
    classnames: tuple[str, ...]
    positive: tuple[str, ...] = ()
    known: bool = True
    groups_only: bool = False

    @classmethod
    def of(
        cls,
        center: str,
        labels: Sequence[int] | np.ndarray,
        probs: np.ndarray,
        patient_ids: Sequence[str],
        classnames: Sequence[str],
        positive: Sequence[str] = (),
    ) -> Sample:
        """From patient ids, "" where unknown: that image is then its own patient.

        Labels may be those of ``cerviclip.data.centers.coarse``: the positive group alone.

        Raises:
            ValueError: rows of ``probs`` are not probabilities, such as logits. Log loss,
                calibration and sets of them would look like numbers and mean nothing.
        """
        probs = np.asarray(probs, dtype=np.float64)
        _check_probabilities(center, probs)
        patients, _ = patient_indices(patient_ids, len(labels))
        coarse = is_coarse(labels)
        if coarse:
            labels = class_stand_ins(list(labels), classnames, positive)
        return cls(
            center,
            np.asarray(labels, dtype=np.int64),
            probs,
            patients,
            tuple(classnames),
            tuple(positive),
            len(patient_ids) > 0 and all(patient_ids),
            coarse,
        )

    def __len__(self) -> int:
        return len(self.labels)

    def with_probs(self, probs: np.ndarray) -> Sample:
        """The same images with other (B, C) probabilities."""
        of = (self.center, self.labels, probs, self.patients, self.classnames)
        return Sample(*of, self.positive, self.known, self.groups_only)

    def take(self, chosen: np.ndarray, center: str = "") -> Sample:
        """The images at which (B,) ``chosen`` is true, under another name if one is given."""
        patients = np.unique(self.patients[chosen], return_inverse=True)[1]
        of = (self.labels[chosen], self.probs[chosen], patients, self.classnames, self.positive)
        return Sample(center or self.center, *of, self.known, self.groups_only)

    @cached_property
    def predicted(self) -> np.ndarray:
        """(B,) the most probable class of each image."""
        return self.probs.argmax(axis=1) if len(self) else np.zeros(0, dtype=np.int64)

    @cached_property
    def group(self) -> np.ndarray:
        """(C,) true for classes of the positive group."""
        return np.isin(self.classnames, self.positive)

    @cached_property
    def score(self) -> np.ndarray:
        """(B,) probability of the positive group."""
        return np.clip(self.probs[:, self.group].sum(axis=1), 0.0, 1.0)

    @cached_property
    def is_positive(self) -> np.ndarray:
        """(B,) true where the image is of the positive group."""
        return self.group[self.labels]

    @cached_property
    def share_limits(self) -> tuple[float, float]:
        """Limits of the share of positive images."""
        hits = np.bincount(self.patients, self.is_positive)
        low, high = proportion_intervals(hits, np.bincount(self.patients), LEVEL)
        return float(low[0]), float(high[0])

    @cached_property
    def n_patients(self) -> int:
        return int(self.patients.max()) + 1 if len(self) else 0

    @property
    def no_group(self) -> str:
        """Why there is no binary task at all; "" if there is one."""
        if not self.group.any():
            return NO_POSITIVE_CLASSES
        return WHOLE_POSITIVE_GROUP if self.group.all() else ""

    @property
    def no_binary(self) -> str:
        """Why positives and negatives cannot be compared here; "" if they can."""
        if self.no_group:
            return self.no_group
        if not len(self):
            return "no images"
        if not self.is_positive.any():
            return "no positive image here"
        return "no negative image here" if self.is_positive.all() else ""

    def counts(self) -> dict[str, int]:
        """Images and patients, and patients with and without the event where there is a group."""
        found = {"n_images": len(self), "n_patients": self.n_patients}
        if not self.no_group:
            with_event = np.unique(self.patients[self.is_positive])
            without = np.unique(self.patients[~self.is_positive])
            found |= {"events": len(with_event), "non_events": len(without)}
        return found

    def note(self) -> str:
        """What a reader must know of what was chosen on these images; "" if nothing."""
        found, notes = self.counts(), []
        for key, name in (("events", "with the event"), ("non_events", "without the event")):
            if found.get(key, FEWEST_EVENTS) < FEWEST_EVENTS:
                notes.append(f"{counted(found[key], 'patient')} {name}")
        if not notes and found["n_patients"] < FEWEST_EVENTS:
            notes.append(counted(found["n_patients"], "patient"))
        few = f"rests on only {' and '.join(notes)} of {self.center}" if notes else ""
        unknown = "" if self.known else EACH_IMAGE
        return "; ".join(filter(None, (few, unknown)))


def is_few(counts: Mapping[str, int]) -> bool:
    """Whether `Sample.counts` have a number of patients that `Sample.note` tells."""
    keys = ("n_patients", "events", "non_events")
    return any(counts.get(key, FEWEST_EVENTS) < FEWEST_EVENTS for key in keys)


def _check_probabilities(center: str, probs: np.ndarray) -> None:
    if not probs.size:
        return
    inside = ((probs >= -SUM_TOLERANCE) & (probs <= 1 + SUM_TOLERANCE)).all(axis=1)
    wrong = int((~(inside & (np.abs(probs.sum(axis=1) - 1) <= SUM_TOLERANCE))).sum())
    if wrong:
        raise ValueError(
            f"{center}: {wrong} of {len(probs)} rows are not probabilities between 0 and 1 that "
            "add up to 1; give a softmax of logits"
        )


def proportions_of(
    sample: Sample, hits: np.ndarray, trials: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) proportions in 0-1, NaN without a trial, and (2, N) limits, NaN with too few patients.

    Args:
        sample: one centre.
        hits: (N, P) successes of each patient.
        trials: (N, P) of how many.
    """
    total = trials.sum(axis=1)
    values = np.full(len(total), np.nan)
    np.divide(hits.sum(axis=1), total, out=values, where=total > 0)
    limits = np.full((2, len(values)), np.nan)
    if sample.n_patients >= MIN_PATIENTS:
        limits = np.stack(proportion_intervals(hits, trials, LEVEL))
    return values, limits


def metric(value: float, limits: Any = None, reason: str = "undefined here") -> dict[str, Any]:
    """One number of results.json.

    Args:
        value: NaN or infinite if undefined.
        limits: lower and upper, each NaN or infinite if there is none; None for no interval.
        reason: why the value, or if that is there why the interval, is null.
    """
    low, high = (np.nan, np.nan) if limits is None else limits
    value, low, high = (float(x) if np.isfinite(x) else None for x in (value, low, high))
    found: dict[str, Any] = {"value": value, "low": low, "high": high}
    return found | ({"reason": reason} if None in found.values() else {})
