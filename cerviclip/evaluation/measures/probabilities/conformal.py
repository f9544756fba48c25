"""Conformal prediction sets, calibrated at home: which classes an image may well be of.

At home a set holds the true class with the promised frequency. At another centre it need not: the
promise rests on images that are exchangeable with those of home. How far it is missed is what
``coverage`` of each centre shows.

Letters: B images, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cerviclip.evaluation.measures.sample import FEW_PATIENTS, Sample, metric, proportions_of

LAC, APS, CLASS_CONDITIONAL = "lac", "aps", "class_conditional"
METHODS = (LAC, APS, CLASS_CONDITIONAL)
NUMBERS = ("coverage", "set_size", "single", "empty")


@dataclass(frozen=True)
class ConformalSets:
    """A method with its quantile.

    Args:
        method: ``lac`` (Sadinle et al. 2019: classes above one probability), ``aps`` (Romano et al.
            2020: the most probable classes up to a summed probability, without randomisation) or
            ``class_conditional`` (``lac`` with a quantile for each class).
        quantiles: (C,) greatest score at which a class is in the set; infinite where home has
            too few images, so that the class always is.
    """

    method: str
    quantiles: np.ndarray

    @classmethod
    def fit(cls, sample: Sample, method: str, coverage: float) -> ConformalSets:
        """Quantiles from the sample's scores of the true classes."""
        scores = class_scores(sample.probs, method)[np.arange(len(sample)), sample.labels]
        classes = range(len(sample.classnames))
        if method == CLASS_CONDITIONAL:
            parts = [quantile(scores[sample.labels == c], coverage) for c in classes]
        else:
            parts = [quantile(scores, coverage)] * len(classes)
        return cls(method, np.array(parts))

    def sets(self, probs: np.ndarray) -> np.ndarray:
        """(B, C) true where a class is in the image's set. ``aps`` always has the likeliest one."""
        inside = class_scores(probs, self.method) <= self.quantiles + 1e-12
        if self.method == APS:
            inside[np.arange(len(probs)), probs.argmax(axis=1)] = True
        return inside

    def to_json(self, classnames: tuple[str, ...]) -> dict[str, Any]:
        """``quantile``: one number, or one of each class; null where every set has the class."""
        values = [float(q) if np.isfinite(q) else None for q in self.quantiles]
        if self.method == CLASS_CONDITIONAL:
            return {"quantile": dict(zip(classnames, values, strict=True))}
        return {"quantile": values[0]}

    @classmethod
    def from_json(
        cls, method: str, values: Mapping[str, Any], classnames: tuple[str, ...]
    ) -> ConformalSets:
        found = values["quantile"]
        found = [found[c] for c in classnames] if isinstance(found, dict) else [found]
        parts = np.array([np.inf if q is None else q for q in found], dtype=float)
        return cls(method, np.resize(parts, len(classnames)))


def class_scores(probs: np.ndarray, method: str) -> np.ndarray:
    """(B, C) how little each class fits each image; the smaller, the better."""
    if method != APS:
        return 1 - probs
    order = np.argsort(-probs, axis=1, kind="stable")
    summed = np.cumsum(np.take_along_axis(probs, order, axis=1), axis=1)
    out = np.empty_like(summed)
    np.put_along_axis(out, order, summed, axis=1)
    return out


def quantile(scores: np.ndarray, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest of n scores; infinite where n is below that."""
    rank = int(np.ceil((len(scores) + 1) * coverage - 1e-9))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else np.inf


def measure_sets(sample: Sample, fitted: ConformalSets) -> dict[str, Any]:
    """What the sets are worth at one centre.

    Returns:
        ``coverage`` (percent of images), ``set_size`` (classes), ``single`` and ``empty`` (percent
        of images with one class and with none), and for ``class_conditional`` the coverage of each
        class in ``per_class``.
    """
    if not len(sample):
        nothing = metric(np.nan, reason="no images")
        return dict.fromkeys(NUMBERS, nothing)
    n_classes = len(sample.classnames)
    hits, trials = set_counts(sample, fitted)
    values, limits = proportions_of(sample, hits, trials)
    values, limits = 100 * values, 100 * limits
    values[1], limits[:, 1] = values[1] * n_classes / 100, limits[:, 1] * n_classes / 100
    cells = [
        metric(v, limits[:, i], "no image of this class here" if np.isnan(v) else FEW_PATIENTS)
        for i, v in enumerate(values)
    ]
    out: dict[str, Any] = dict(zip(NUMBERS, cells[: len(NUMBERS)], strict=True))
    if fitted.method == CLASS_CONDITIONAL:
        out["per_class"] = dict(zip(sample.classnames, cells[len(NUMBERS) :], strict=True))
    return out


def set_counts(sample: Sample, fitted: ConformalSets) -> tuple[np.ndarray, np.ndarray]:
    """Images of each patient, (M, P) hits and trials: covered, classes in the sets, sets of one
    class, empty sets; for ``class_conditional`` also covered ones of each class."""
    inside = fitted.sets(sample.probs)
    size = inside.sum(axis=1)
    covered = inside[np.arange(len(sample)), sample.labels]
    ones, n_classes = np.ones(len(sample)), len(sample.classnames)
    parts = [(covered, ones), (size, n_classes * ones), (size == 1, ones), (size == 0, ones)]
    if fitted.method == CLASS_CONDITIONAL:
        parts += [(covered & (sample.labels == c), sample.labels == c) for c in range(n_classes)]
    hits, trials = (
        np.array([np.bincount(sample.patients, part, sample.n_patients) for part in column])
        for column in zip(*parts, strict=True)
    )
    return hits, trials
