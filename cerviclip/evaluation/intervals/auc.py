"""Intervals of the area under the ROC curve, with images clustered in patients.

The variance of DeLong (1988), by patient as Obuchowski (1997) has it, is right with many patients
and far too small with few: with six cancers the AUC is often 1 and its variance 0. The interval
here is a score interval as Newcombe's (2006, method 5): it holds every AUC whose own variance makes
the observed one likely, so it has a width even at 1. The numbers of positives and negatives in that
variance are effective ones, and its shape follows DeLong's as far as there are patients to show it.

Letters: R rows of scores on the same images, B images, P patients, G values of the ICC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from cerviclip.evaluation.intervals.binomial import Interval
from cerviclip.evaluation.intervals.memory import Memory, key_of, read_only
from cerviclip.evaluation.intervals.proportions import _CAUTION, _ICC_PRIOR, ICC_GRID, few

METHOD = "score interval on clustered DeLong variance (Newcombe, Obuchowski)"
_STEPS = 40
_WIDER, _NARROWER = 5.0, 20.0  # patients at which placements count one half against the model
_TRUST = 30.0  # the same for the spread of whole patients
_TINY = 1e-12


@dataclass(frozen=True)
class Placements:
    """How each image ranks among those of the other class, summed by patient.

    ``positive`` (R, n1) is the share of negatives below each positive, ``negative`` (R, n0) the
    share of positives above each negative, ties one half; both have the mean ``auc`` (R,).
    """

    auc: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    positive_parts: np.ndarray  # (R, P) sums over patients of deviations, over n1
    negative_parts: np.ndarray  # (R, P), over n0

    @property
    def influence(self) -> np.ndarray:
        """(R, P) by how much each patient moves the AUC."""
        return self.positive_parts + self.negative_parts


_memory: Memory[tuple[float, float, Placements]] = Memory()


class _Ranks(NamedTuple):
    """Ranks of (R, B) scores among all images and within each kind; equal scores share theirs."""

    overall: np.ndarray
    positive: np.ndarray
    negative: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray) -> _Ranks:
        return cls(*map(_ranks, (scores, scores[:, positive], scores[:, ~positive])))


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1 in each row; equal scores have their mean rank."""
    if len(scores) > 1:
        return rankdata(scores, axis=1)
    rising = np.sort(scores[0])  # of one row in less time
    below = np.searchsorted(rising, scores[0], side="left")
    up_to = np.searchsorted(rising, scores[0], side="right")
    return (below + up_to + 1)[None] / 2


class _Patients:
    """Sums over the images of each patient.

    Args:
        patients: (B,) patient numbers from 0.
        count: of patients.
    """

    def __init__(self, patients: np.ndarray, count: int) -> None:
        self.images = np.bincount(patients, minlength=count)
        self.order = np.argsort(patients, kind="stable")
        self.present = np.flatnonzero(self.images)
        self.starts = np.cumsum(np.concatenate([[0], self.images[self.present][:-1]]))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(R, P) sums of (R, B) values."""
        out = np.zeros((len(values), len(self.images)))
        out[:, self.present] = np.add.reduceat(values[:, self.order], self.starts, axis=1)
        return out


class _Kinds(NamedTuple):
    """The patients of all images, of the positive and of the negative ones."""

    all: _Patients
    positive: _Patients
    negative: _Patients

    @classmethod
    def of(cls, positive: np.ndarray, patients: np.ndarray) -> _Kinds:
        parts = patients, patients[positive], patients[~positive]
        return cls(*(_Patients(part, int(patients.max()) + 1) for part in parts))


def placements(scores: np.ndarray, positive: np.ndarray, patients: np.ndarray) -> Placements:
    """Of (R, B) scores, (B,) true where positive, (B,) patient numbers from 0."""
    return _placements(_Ranks.of(scores, positive), positive, _Kinds.of(positive, patients))


def _placements(ranks: _Ranks, positive: np.ndarray, kinds: _Kinds) -> Placements:
    n1, n0 = positive.sum(), (~positive).sum()
    above = (ranks.overall[:, positive] - ranks.positive) / n0
    below = 1 - (ranks.overall[:, ~positive] - ranks.negative) / n1
    auc = above.mean(axis=1)
    one = kinds.positive.sums(above - auc[:, None]) / n1
    two = kinds.negative.sums(below - auc[:, None]) / n0
    return Placements(auc, above, below, one, two)


def obuchowski_variance(
    placed: Placements, positive: np.ndarray, patients: np.ndarray
) -> np.ndarray:
    """(R,) variance of the AUC by patient; DeLong's where each patient has one image."""
    return _obuchowski(placed, _Kinds.of(positive, patients))


def _obuchowski(placed: Placements, kinds: _Kinds) -> np.ndarray:
    with_positive, with_negative = len(kinds.positive.present), len(kinds.negative.present)
    both = (placed.positive_parts * placed.negative_parts).sum(axis=1)
    variance = (
        _corrected(with_positive) * (placed.positive_parts**2).sum(axis=1)
        + _corrected(with_negative) * (placed.negative_parts**2).sum(axis=1)
        + 2 * _corrected(len(kinds.all.present)) * both
    )
    return np.maximum(variance, 0.0)


def auc_intervals(
    scores: np.ndarray, positive: np.ndarray, patients: np.ndarray, level: float = 0.95
) -> tuple[Interval, Placements]:
    """Intervals of the AUCs of (R, B) scores on the same images, and what they rest on.

    Args:
        scores: (R, B), higher for positives.
        positive: (B,) true where an image is positive; both kinds must be there.
        patients: (B,) patient numbers from 0.
        level: nominal coverage.
    """
    placed, model = _model_of(scores, positive, patients, level)
    return _limits(model), placed


def several_auc_intervals(
    tasks: Sequence[tuple[np.ndarray, np.ndarray]], patients: np.ndarray, level: float = 0.95
) -> list[tuple[float, float, Placements]]:
    """Limits of the AUC of each task, and what it rests on; all limits are found in one search.

    Args:
        tasks: (B,) scores and (B,) true where an image is positive, such as one class each.
        patients: (B,) patient numbers from 0.
        level: nominal coverage.
    """
    keys = [(level, key_of(score, positive, patients)) for score, positive in tasks]
    found = {key: known for key in keys if (known := _memory.get(key)) is not None}
    new = {key: task for key, task in zip(keys, tasks, strict=True) if key not in found}
    if new:
        made = [_model_of(task[0][None], task[1], patients, level) for task in new.values()]
        columns = zip(*(model for _, model in made), strict=True)
        low, high = _limits(_Model(*map(np.concatenate, columns)))
        for i, (key, (placed, _)) in enumerate(zip(new, made, strict=True)):
            read_only(*vars(placed).values())
            found[key] = float(low[i]), float(high[i]), placed
    for key in keys:
        _memory.put(key, found[key])
    return [found[key] for key in keys]


class _Model(NamedTuple):
    """What the variance of each AUC follows from, (R,) each."""

    auc: np.ndarray
    size1: np.ndarray  # effective positives
    size0: np.ndarray  # effective negatives
    shared: np.ndarray
    shape1: np.ndarray
    shape0: np.ndarray
    scale: np.ndarray  # of the variance: squared normal quantile, widened for few patients

    def variance(self, auc: np.ndarray) -> np.ndarray:
        """Hanley and McNeil's variance with the two kinds of comparison made alike (Newcombe)."""
        single = auc * (1 - auc) / (self.size1 * self.size0) * (1 - _exponential(auc))
        both = self.shared * np.sqrt(self.shape1 * self.shape0)
        pairs = self.shape1 / self.size1 + self.shape0 / self.size0 - both
        return np.maximum(single + _spread(auc) * pairs, _TINY)


def _model_of(
    scores: np.ndarray, positive: np.ndarray, patients: np.ndarray, level: float
) -> tuple[Placements, _Model]:
    ranks = _Ranks.of(scores, positive)
    kinds = _Kinds.of(positive, patients)
    placed = _placements(ranks, positive, kinds)
    at = np.minimum(placed.auc, 1 - 1e-9)
    per_positive, per_negative = kinds.positive.images, kinds.negative.images
    n1, n0 = per_positive.sum(), per_negative.sum()
    icc, across = _score_icc(ranks, positive, kinds)
    size1 = n1 / (1 + ((per_positive**2).sum() / n1 - 1) * icc)
    size0 = n0 / (1 + ((per_negative**2).sum() / n0 - 1) * icc)
    shared = 2 * across * (per_positive * per_negative).sum() / (n1 * n0)

    telling1 = _telling(placed.positive, kinds.positive)
    telling0 = _telling(placed.negative, kinds.negative)
    shape1 = _shape(placed.positive.var(axis=1) / _spread(at), telling1)
    shape0 = _shape(placed.negative.var(axis=1) / _spread(at), telling0)
    model = _Model(placed.auc, size1, size0, shared, shape1, shape0, np.ones_like(at))
    seen = _obuchowski(placed, kinds) / model.variance(at)
    telling = np.minimum(telling1, telling0)
    wider = np.clip(seen, 1.0, 5.0) ** (telling / (telling + _TRUST))
    fewest = np.minimum((per_positive > 0).sum(), (per_negative > 0).sum())
    z2 = ndtri(0.5 + level / 2) ** 2 * np.sqrt(few(fewest, level))
    return placed, model._replace(scale=z2 * wider)


def _exponential(auc: np.ndarray) -> np.ndarray:
    return (1 - auc) / (2 - auc) + auc / (1 + auc)


def _spread(auc: np.ndarray) -> np.ndarray:
    """Variance of one image's placement that goes with this AUC."""
    return np.maximum(auc * (1 - auc) * _exponential(auc) / 2, _TINY)


def _shape(ratio: np.ndarray, telling: np.ndarray) -> np.ndarray:
    """Observed over modelled spread, drawn towards 1 the fewer patients show it."""
    log = np.log(np.clip(ratio, 0.25, 4.0))
    half = np.where(log > 0, _WIDER, _NARROWER)
    return np.exp(log * telling / (telling + half))


def _limits(model: _Model) -> Interval:
    """The AUCs farthest to both sides that are still compatible with the observed ones."""
    far = np.stack([np.zeros_like(model.auc), np.ones_like(model.auc)])
    near = np.broadcast_to(model.auc, far.shape)
    for _ in range(_STEPS):
        middle = (near + far) / 2
        inside = (middle - model.auc) ** 2 <= model.scale * model.variance(middle)
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return Interval(*far)


def _score_icc(ranks: _Ranks, positive: np.ndarray, kinds: _Kinds) -> tuple[np.ndarray, np.ndarray]:
    """(R,) cautious ICC of the scores' ranks within their class, and the correlation of a
    patient's positive with her negative images."""
    normal = np.empty(ranks.overall.shape)
    for part, within in ((positive, ranks.positive), (~positive, ranks.negative)):
        scores = ndtri((within - 0.375) / (part.sum() + 0.25))
        normal[:, part] = scores / np.maximum(np.sqrt((scores**2).mean(axis=1)), _TINY)[:, None]
    mean, spread = _anova_icc(normal, kinds.all)
    of_positive = kinds.positive.sums(normal[:, positive])
    of_negative = kinds.negative.sums(normal[:, ~positive])
    pairs = kinds.positive.images * kinds.negative.images
    mixed = (pairs > 0).sum()
    across = (of_positive * of_negative).sum(axis=1) / max(pairs.sum(), 1) * mixed / (mixed + 2)
    cautious = mean + _CAUTION * spread  # below 1: no distribution on the grid reaches 0.95
    return cautious, np.clip(across, 0.0, mean)


def _anova_icc(values: np.ndarray, patients: _Patients) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the ICC by the F of a one-way analysis, flat prior."""
    images = patients.images[patients.present]
    between, within = len(images) - 1, len(values[0]) - len(images)
    if between < 1 or within < 1:
        weights = np.broadcast_to(_ICC_PRIOR / _ICC_PRIOR.sum(), (len(values), len(ICC_GRID)))
    else:
        sums = patients.sums(values)[:, patients.present]
        grand = values.mean(axis=1, keepdims=True)
        among = (images * (sums / images - grand) ** 2).sum(axis=1)
        rest = ((values - grand) ** 2).sum(axis=1) - among
        f = (among / between) / np.maximum(rest / within, _TINY)
        size = (images.sum() - (images**2).sum() / images.sum()) / between
        scale = 1 + size * ICC_GRID / (1 - ICC_GRID)
        x = np.maximum(f, _TINY)[:, None] / scale
        log = (between / 2) * np.log(x) - (between + within) / 2 * np.log1p(between * x / within)
        weights = np.exp(log - log.max(axis=1, keepdims=True)) * _ICC_PRIOR
        weights /= weights.sum(axis=1, keepdims=True)
    mean = weights @ ICC_GRID
    return mean, np.sqrt(np.maximum(weights @ ICC_GRID**2 - mean**2, 0.0))


def _telling(placed: np.ndarray, patients: _Patients) -> np.ndarray:
    """(R,) patients with an image that is not placed perfectly, or not utterly wrong if fewer."""
    return np.minimum(
        *((patients.sums(side.astype(float)) > 0).sum(axis=1) for side in (placed < 1, placed > 0))
    )


def _corrected(units: int) -> float:
    return units / max(units - 1, 1)
