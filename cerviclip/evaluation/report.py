"""What results.json says of one centre: every metric with its interval over patients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from cerviclip.counted import counted
from cerviclip.evaluation.bootstrap import (
    MIN_PATIENTS,
    intervals,
    patient_draws,
    patient_indices,
    weighted_metrics,
)
from cerviclip.evaluation.bounds import (
    bootstrap_uncertainty,
    carriers_of,
    center_bounds,
    uncertainty,
    without_small_groups,
)
from cerviclip.evaluation.names import (
    BINARY,
    FEW,
    NO_IDS,
    NO_POSITIVE_CLASSES,
    OVERALL,
    PER_CLASS,
    POINTS,
    WANTED_EVENTS,
    WANTED_PATIENTS,
    WHOLE_POSITIVE_GROUP,
)

FEW_PATIENTS = f"an interval needs at least {MIN_PATIENTS} patients"
FEW_OF_GROUP = f"{FEW_PATIENTS} of each group that it rests on"


def score(
    labels: Sequence[int],
    probs: np.ndarray,
    patient_ids: Sequence[str],
    classnames: Sequence[str],
    positive: Sequence[str] = (),
    intervals: str = FEW,
) -> dict[str, Any]:
    """Score one centre's predictions.

    Args:
        labels: (B,) true classes.
        probs: (B, C) class probabilities; the predicted class is the most probable one.
        patient_ids: (B,) ids, "" where unknown (that image is then its own patient).
        classnames: (C,) in label order.
        positive: class names of the positive group of the binary task.
        intervals: ``few_patients`` takes the methods of docs/evaluation.md; ``bootstrap``, or
            nothing as in older runs, resamples patients.

    Returns:
        The centre's entry of results.json: ``n_images n_patients accuracy balanced_accuracy
        macro_f1 macro_auc ece per_class confusion_matrix binary counts uncertainty`` and a ``note``
        where one is due.
        AUC and ECE lie in 0-1, all else in percent; what is undefined is null with a reason.
    """
    truth = np.asarray(labels, dtype=np.int64)
    scores = np.asarray(probs, dtype=np.float64)
    classnames = list(classnames)
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        raise ValueError(f"{wrong} of {scores.size} probabilities are NaN or infinite")
    if len(truth) == 0:
        return _empty(classnames, positive)
    predictions = scores.argmax(axis=1)
    group = [classnames.index(name) for name in positive]
    patients, n_patients = patient_indices(patient_ids, len(truth))
    measure = partial(weighted_metrics, truth, scores, predictions, patients, positive=group)
    point = measure(np.ones((1, n_patients)))
    bounds: dict[str, np.ndarray] = {}
    samples: dict[str, np.ndarray] = {}
    if n_patients >= MIN_PATIENTS and intervals != POINTS:
        chosen = np.isin(classnames, list(positive))
        if intervals == FEW:
            bounds = center_bounds(truth, scores, predictions, patients, chosen)
        else:
            samples = measure(patient_draws(n_patients))
            carriers = carriers_of(truth, predictions, patients, len(classnames), chosen)
            bounds = without_small_groups(_bounds(samples), carriers, MIN_PATIENTS)
    support = np.bincount(truth, minlength=len(classnames))

    def metric(name: str, reason: str, column: int | None = None) -> dict[str, Any]:
        def at(rows: Any, first: Any) -> Any:
            return rows[first] if column is None else rows[first, column]

        value = at(point[name], 0) if name in point else np.nan
        interval = at(bounds[name], slice(None)) if name in bounds else (np.nan, np.nan)
        return _metric(value, interval, reason, FEW_OF_GROUP if name in bounds else FEW_PATIENTS)

    confusion = np.zeros((len(classnames), len(classnames)), dtype=np.int64)
    np.add.at(confusion, (truth, predictions), 1)
    one_class = f"only one class has images here ({classnames[truth[0]]})"
    entry: dict[str, Any] = {"n_images": len(labels), "n_patients": n_patients}
    for name in OVERALL:
        entry[name] = metric(name, one_class if name == "macro_auc" else "no images")
    entry["per_class"] = {}
    for c, classname in enumerate(classnames):
        missing = (
            "no image of this class here" if support[c] == 0 else "this class is never predicted"
        )
        row = {name: metric(name, missing, c) for name in PER_CLASS}
        entry["per_class"][classname] = row | {"support": int(support[c])}
    entry["confusion_matrix"] = confusion.tolist()
    reasons = _binary_reasons(classnames, positive)
    entry["binary"] = {name: metric(f"binary/{name}", reasons[name]) for name in BINARY}
    known = len(patient_ids) > 0 and all(patient_ids)
    entry["counts"] = counts(truth, patients, classnames, np.isin(classnames, list(positive)))
    unit = "patient" if known else "image"
    entry["uncertainty"] = (
        uncertainty(unit) if intervals in (FEW, POINTS) else bootstrap_uncertainty(unit, samples)
    )
    notes = _notes(known, n_patients, entry["counts"])
    return entry | ({"note": "; ".join(notes)} if notes else {})


def counts(
    labels: np.ndarray, patients: np.ndarray, classnames: Sequence[str], group: np.ndarray
) -> dict[str, Any]:
    """Images and patients of each class, and of the positive group and the rest.

    A patient with images of several classes counts in each of them.
    """

    def of(chosen: np.ndarray) -> dict[str, int]:
        return {"images": int(chosen.sum()), "patients": len(np.unique(patients[chosen]))}

    found: dict[str, Any] = {"per_class": {c: of(labels == i) for i, c in enumerate(classnames)}}
    if group.any():
        found |= {"events": of(group[labels]), "non_events": of(~group[labels])}
    return found


def _notes(known: bool, n_patients: int, found: dict[str, Any]) -> list[str]:
    """What a reader must know before she trusts the intervals."""
    notes = [] if known else [NO_IDS]
    if n_patients < WANTED_PATIENTS:
        only = counted(n_patients, "patient")
        notes.append(f"only {only}: intervals are wide and rest on assumptions")
    named = {"events": "the event", "non_events": "no event"}
    few = [(named[k], found[k]["patients"]) for k in named if k in found]
    few = few or [(name, part["patients"]) for name, part in found["per_class"].items()]
    listed = [f"{name}: {count}" for name, count in few if 0 < count < WANTED_EVENTS]
    if listed:
        notes.append(f"fewer than {WANTED_EVENTS} patients with {', '.join(listed)}")
    return notes


def undefined(reason: str) -> dict[str, Any]:
    """A metric that has no value, and why."""
    return {"value": None, "low": None, "high": None, "reason": reason}


def _metric(value: float, interval: Sequence[float], reason: str, without: str) -> dict[str, Any]:
    """One metric.

    Args:
        value: NaN where it is undefined.
        interval: NaN where there is none.
        reason: why there is no value.
        without: why there is no interval.
    """
    if np.isnan(value):
        return undefined(reason)
    if np.isnan(interval[0]):
        return {"value": float(value), "low": None, "high": None, "reason": without}
    return {"value": float(value), "low": float(interval[0]), "high": float(interval[1])}


def _bounds(samples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """name -> (2,) or (2, C) percentile bounds, all columns sorted in one call."""
    shapes = {name: values.shape[1:] for name, values in samples.items()}
    flat = [values.reshape(len(values), -1) for values in samples.values()]
    bounds = intervals(np.concatenate(flat, axis=1))
    out, start = {}, 0
    for name, shape in shapes.items():
        width = int(np.prod(shape, dtype=int))
        out[name] = bounds[:, start : start + width].reshape(2, *shape)
        start += width
    return out


def _binary_reasons(classnames: Sequence[str], positive: Sequence[str]) -> dict[str, str]:
    if not positive:
        return dict.fromkeys(BINARY, NO_POSITIVE_CLASSES)
    if set(positive) >= set(classnames):
        return dict.fromkeys(BINARY, WHOLE_POSITIVE_GROUP)
    no_positive, no_negative = "no positive image here", "no negative image here"
    return {
        "accuracy": "no images",
        "auc": "positive or negative images are missing here",
        "sensitivity": no_positive,
        "specificity": no_negative,
        "ppv": "no image is predicted positive",
        "npv": "no image is predicted negative",
    }


def _empty(classnames: Sequence[str], positive: Sequence[str]) -> dict[str, Any]:
    """The entry of a centre without images."""
    nothing, none = undefined("no images"), np.zeros(0, dtype=np.int64)
    return {
        "n_images": 0,
        "n_patients": 0,
        **dict.fromkeys(OVERALL, nothing),
        "per_class": {c: dict.fromkeys(PER_CLASS, nothing) | {"support": 0} for c in classnames},
        "confusion_matrix": np.zeros((len(classnames),) * 2, dtype=int).tolist(),
        "binary": dict.fromkeys(BINARY, nothing),
        "counts": counts(none, none, classnames, np.isin(classnames, list(positive))),
        "uncertainty": uncertainty("patient"),
    }
