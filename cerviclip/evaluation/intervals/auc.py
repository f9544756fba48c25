"""Intervals of the area under the ROC curve, with images clustered in patients.

The variance of DeLong (1988), by patient as Obuchowski (1997) has it, is right with many patients
and far too small with few: with six cancers the AUC is often 1 and its variance 0. The interval
here is a score interval as Newcombe's (2006, method 5): it holds every AUC whose own variance makes
the observed one likely, so it has a width even at 1. The numbers of positives and negatives in that
variance are effective ones, and its shape follows DeLong's as far as there are patients to show it.

Letters: R rows of scores on the same images, B images, P patients, G values of the ICC.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from cerviclip.evaluation.intervals.binomial import Interval
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


def placements(scores: np.ndarray, positive: np.ndarray, patients: np.ndarray) -> Placements:
    """Of (R, B) scores, (B,) true where positive, (B,) patient numbers from 0."""
    n1, n0, count = positive.sum(), (~positive).sum(), patients.max() + 1
    overall = rankdata(scores, axis=1)
    above = (overall[:, positive] - rankdata(scores[:, positive], axis=1)) / n0
    below = 1 - (overall[:, ~positive] - rankdata(scores[:, ~positive], axis=1)) / n1
    auc = above.mean(axis=1)
    one = _by_patient(above - auc[:, None], patients[positive], count) / n1
    two = _by_patient(below - auc[:, None], patients[~positive], count) / n0
    return Placements(auc, above, below, one, two)


def obuchowski_variance(
    placed: Placements, positive: np.ndarray, patients: np.ndarray
) -> np.ndarray:
    """(R,) variance of the AUC by patient; DeLong's where each patient has one image."""
    with_positive = len(np.unique(patients[positive]))
    with_negative = len(np.unique(patients[~positive]))
    both = (placed.positive_parts * placed.negative_parts).sum(axis=1)
    variance = (
        _corrected(with_positive) * (placed.positive_parts**2).sum(axis=1)
        + _corrected(with_negative) * (placed.negative_parts**2).sum(axis=1)
        + 2 * _corrected(len(np.unique(patients))) * both
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
    placed = placements(scores, positive, patients)
    auc, at = placed.auc, np.minimum(placed.auc, 1 - 1e-9)
    count = patients.max() + 1
    per_positive = np.bincount(patients[positive], minlength=count)
    per_negative = np.bincount(patients[~positive], minlength=count)
    n1, n0 = per_positive.sum(), per_negative.sum()
    icc, across = _score_icc(scores, positive, patients)
    size1 = n1 / (1 + ((per_positive**2).sum() / n1 - 1) * icc)
    size0 = n0 / (1 + ((per_negative**2).sum() / n0 - 1) * icc)
    shared = 2 * across * (per_positive * per_negative).sum() / (n1 * n0)

    telling1 = _telling(placed.positive, patients[positive], count)
    telling0 = _telling(placed.negative, patients[~positive], count)
    shape1 = _shape(placed.positive.var(axis=1) / _spread(at), telling1)
    shape0 = _shape(placed.negative.var(axis=1) / _spread(at), telling0)
    model = partial(_variance, size1, size0, shared, shape1, shape0)
    seen = obuchowski_variance(placed, positive, patients) / model(at)
    telling = np.minimum(telling1, telling0)
    wider = np.clip(seen, 1.0, 5.0) ** (telling / (telling + _TRUST))
    fewest = np.minimum((per_positive > 0).sum(), (per_negative > 0).sum())
    z2 = ndtri(0.5 + level / 2) ** 2 * np.sqrt(few(fewest, level))
    low, high = (_limit(auc, side, lambda a: z2 * wider * model(a)) for side in (0.0, 1.0))
    return Interval(low, high), placed


def _variance(size1, size0, shared, shape1, shape0, auc):  # type: ignore[no-untyped-def]
    """Hanley and McNeil's variance with the two kinds of comparison made alike (Newcombe)."""
    single = auc * (1 - auc) / (size1 * size0) * (1 - _exponential(auc))
    pairs = shape1 / size1 + shape0 / size0 - shared * np.sqrt(shape1 * shape0)
    return np.maximum(single + _spread(auc) * pairs, _TINY)


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


def _limit(auc: np.ndarray, side: float, scaled_variance) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The AUC farthest to one side that is still compatible with the observed one."""
    near, far = auc.copy(), np.full_like(auc, side)
    for _ in range(_STEPS):
        middle = (near + far) / 2
        inside = (middle - auc) ** 2 <= scaled_variance(middle)
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return far


def _score_icc(
    scores: np.ndarray, positive: np.ndarray, patients: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(R,) cautious ICC of the scores' ranks within their class, and the correlation of a
    patient's positive with her negative images."""
    normal = np.empty(scores.shape)
    for part in (positive, ~positive):
        size = part.sum()
        ranks = ndtri((rankdata(scores[:, part], axis=1) - 0.375) / (size + 0.25))
        normal[:, part] = ranks / np.maximum(np.sqrt((ranks**2).mean(axis=1)), _TINY)[:, None]
    count = patients.max() + 1
    images = np.bincount(patients, minlength=count)
    mean, spread = _anova_icc(normal, patients, images)
    of_positive = _by_patient(normal[:, positive], patients[positive], count)
    of_negative = _by_patient(normal[:, ~positive], patients[~positive], count)
    pairs = np.bincount(patients[positive], minlength=count) * np.bincount(
        patients[~positive], minlength=count
    )
    mixed = (pairs > 0).sum()
    across = (of_positive * of_negative).sum(axis=1) / max(pairs.sum(), 1) * mixed / (mixed + 2)
    return np.minimum(1.0, mean + _CAUTION * spread), np.clip(across, 0.0, mean)


def _anova_icc(
    values: np.ndarray, patients: np.ndarray, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the ICC by the F of a one-way analysis, flat prior."""
    images = images[images > 0]
    between, within = len(images) - 1, len(values[0]) - len(images)
    if between < 1 or within < 1:
        weights = np.broadcast_to(_ICC_PRIOR / _ICC_PRIOR.sum(), (len(values), len(ICC_GRID)))
    else:
        sums = _by_patient(values, patients, patients.max() + 1)
        sums = sums[:, np.bincount(patients) > 0]
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


def _telling(placed: np.ndarray, patients: np.ndarray, count: int) -> np.ndarray:
    """(R,) patients with an image that is not placed perfectly, or not utterly wrong if fewer."""
    return np.minimum(
        *(
            (_by_patient(side.astype(float), patients, count) > 0).sum(axis=1)
            for side in (placed < 1, placed > 0)
        )
    )


def _by_patient(values: np.ndarray, patients: np.ndarray, count: int) -> np.ndarray:
    """(R, P) sums of (R, B) values over each patient's images."""
    order = np.argsort(patients, kind="stable")
    present, starts = np.unique(patients[order], return_index=True)
    out = np.zeros((len(values), count))
    out[:, present] = np.add.reduceat(values[:, order], starts, axis=1)
    return out


def _corrected(units: int) -> float:
    return units / max(units - 1, 1)
