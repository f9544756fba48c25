"""One prediction a patient: a patient is what is treated, an image is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cerviclip.evaluation.measures.sample import Sample

MAX_NEEDS_GROUP = (
    "TEST.PATIENT_RULE max looks for the most suspicious image: it needs DATASET.POSITIVE"
)
NO_IDS = "no patient ids are known"
ONE_IMAGE = "each patient has one image: the numbers by patient are those by image"


def why_not_by_patient(samples: Sequence[Sample], rule: str) -> str:
    """Why there are no numbers by patient beside those by image; "" if there are."""
    if not all(sample.known for sample in samples if len(sample)):
        return NO_IDS
    if all(len(sample) == sample.n_patients for sample in samples):
        return ONE_IMAGE
    if rule == "max" and any(sample.no_group for sample in samples):
        return MAX_NEEDS_GROUP
    return ""


def by_patient(sample: Sample, rule: str, order: Sequence[str] = ()) -> Sample:
    """A sample with one row a patient.

    ``mean`` averages the probabilities of her images. ``max`` takes those of the image that is most
    probably positive. ``share`` takes the share of her images that are called each class.

    Her true class is the worst of her images' where the classes have an ``order``. Else it is the
    most frequent one, of the positive group if she has any image of it; the first in label order
    of equally frequent ones.
    """
    count, n_classes = sample.n_patients, len(sample.classnames)
    images = np.bincount(sample.patients, minlength=count)
    if rule == "max":
        ranked = np.lexsort((-sample.score, sample.patients))
        first = np.concatenate([[0], np.cumsum(images)[:-1]]) if count else np.zeros(0, int)
        probs = sample.probs[ranked[first]]
    elif rule in ("mean", "share"):
        parts = sample.probs if rule == "mean" else np.eye(n_classes)[sample.predicted]
        probs = np.zeros((count, n_classes))
        np.add.at(probs, sample.patients, parts)
        probs /= images[:, None]
    else:
        raise ValueError(f"no rule {rule!r}; take mean, max or share")
    labels = _labels(sample, order)
    numbers = np.arange(count)
    of = (sample.center, labels, probs, numbers, sample.classnames, sample.positive)
    return Sample(*of, sample.known, sample.groups_only)


def mixed_patients(sample: Sample) -> int:
    """How many patients have images of several classes."""
    pairs = np.unique(np.stack([sample.patients, sample.labels]), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum()) if len(sample) else 0


def _labels(sample: Sample, order: Sequence[str]) -> np.ndarray:
    """(P,) true class of each patient."""
    n_classes = len(sample.classnames)
    counts = np.zeros((sample.n_patients, n_classes))
    np.add.at(counts, (sample.patients, sample.labels), 1)
    if is_order(order, sample.classnames):
        rank = np.array([order.index(name) for name in sample.classnames])
        return np.where(counts > 0, rank, -1).argmax(axis=1)
    diseased = (counts[:, sample.group].sum(axis=1) > 0) if sample.group.any() else None
    if diseased is not None:
        counts = np.where(diseased[:, None] & ~sample.group, 0, counts)
    return counts.argmax(axis=1)


def is_order(order: Sequence[str], classnames: Sequence[str]) -> bool:
    """Whether ``order`` ranks all these classes; it may rank others too."""
    return len(set(order)) == len(order) and set(classnames) <= set(order)
