"""Samples with known faults, for the tests of the measures."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from cerviclip.evaluation.measures import Sample

CLASSES = ("normal", "low", "high", "cancer")
POSITIVE = ("high", "cancer")


def make_sample(
    center="test", patients=60, images=4, seed=0, skill=2.0, positive=POSITIVE, known=True
):
    """Patients of one class each, whose images have a common error beside their own."""
    rng = np.random.default_rng(seed)
    of_patient = rng.integers(0, len(CLASSES), patients)
    number = np.repeat(np.arange(patients), images)
    labels = of_patient[number]
    shape = (len(number), len(CLASSES))
    logits = rng.normal(0, 1, shape) + rng.normal(0, 1, (patients, len(CLASSES)))[number]
    logits[np.arange(len(labels)), labels] += skill
    ids = [f"P{n}" if known else "" for n in number]
    return Sample.of(center, labels, softmax(logits, axis=1), ids, CLASSES, positive)


def binary_sample(score, outcome, patients=None, center="test"):
    """Two classes, the second one positive."""
    score = np.asarray(score, dtype=float)
    ids = [str(n) for n in (range(len(score)) if patients is None else patients)]
    probs = np.stack([1 - score, score], axis=1)
    return Sample.of(center, np.asarray(outcome, int), probs, ids, ("no", "yes"), ("yes",))


def relabelled(sample, labels):
    """The same images with other true classes."""
    ids = [str(n) for n in sample.patients]
    of = (sample.probs, ids, sample.classnames, sample.positive)
    return Sample.of(sample.center, labels, *of)
