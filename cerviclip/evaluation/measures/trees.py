"""Scores for classes that stand in a tree: a mistake between neighbours is the smaller one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cerviclip.evaluation.bootstrap import MIN_PATIENTS
from cerviclip.evaluation.intervals import loss_interval, proportion_intervals
from cerviclip.evaluation.measures.sample import FEW_PATIENTS, LEVEL, Sample, metric

NO_TREE = "the data set declares no tree of its classes"
Levels = Mapping[str, Sequence[str]]


def tree_distances(levels: Levels, classnames: Sequence[str]) -> np.ndarray:
    """(C, C) edges on the way from each class to each other in the tree."""
    paths = [tuple(filter(None, levels[name])) for name in classnames]
    distance = np.zeros((len(paths), len(paths)))
    for i, a in enumerate(paths):
        for j, b in enumerate(paths):
            common = sum(1 for _ in _while_equal(a, b))
            distance[i, j] = len(a) + len(b) - 2 * common
    return distance


def _while_equal(a: Sequence[str], b: Sequence[str]):  # type: ignore[no-untyped-def]
    for x, y in zip(a, b, strict=False):
        if x != y:
            return
        yield x


def tree_scores(sample: Sample, levels: Levels) -> dict[str, Any]:
    """Accuracy at each level and the mean distance of the predicted from the true class.

    An image counts at a level where its true class has a node there. It is right where the
    predicted class lies under the same node.

    Returns:
        ``levels`` (``level_1`` and so on, percent) and ``distance`` (edges; 0 where all are right);
        a ``reason`` where the classes have no tree.
    """
    if not levels or not set(sample.classnames) <= set(levels):
        return {"levels": {}, "distance": metric(np.nan, reason=NO_TREE), "reason": NO_TREE}
    return {"levels": _level_accuracy(sample, levels), "distance": _distance(sample, levels)}


def _level_accuracy(sample: Sample, levels: Levels) -> dict[str, Any]:
    nodes = np.array([list(levels[name]) for name in sample.classnames])  # (C, levels)
    true, said = nodes[sample.labels], nodes[sample.predicted]
    count, counted = sample.n_patients, true != ""
    right = counted & (true == said)
    columns = range(nodes.shape[1])
    hits = np.array([np.bincount(sample.patients, right[:, k], count) for k in columns])
    trials = np.array([np.bincount(sample.patients, counted[:, k], count) for k in columns])
    low, high = np.full((2, len(hits)), np.nan)
    if count >= MIN_PATIENTS:
        low, high = proportion_intervals(hits, trials, LEVEL)
    total = trials.sum(axis=1)
    return {
        f"level_{k + 1}": metric(
            100 * hits[k].sum() / total[k] if total[k] else np.nan,
            (100 * low[k], 100 * high[k]),
            FEW_PATIENTS if total[k] else "no image of a class on this level here",
        )
        for k in columns
    }


def _distance(sample: Sample, levels: Levels) -> dict[str, Any]:
    if not len(sample):
        return metric(np.nan, reason="no images")
    between = tree_distances(levels, sample.classnames)
    losses = between[sample.labels, sample.predicted]
    limits = None
    if sample.n_patients >= MIN_PATIENTS:
        right = sample.labels == sample.predicted
        second = np.argsort(-sample.probs, axis=1, kind="stable")[:, 1]
        if_wrong = np.where(right, between[second, sample.predicted], losses)
        limits = loss_interval(losses, if_wrong, right, sample.patients, between.max(), LEVEL)
    return metric(losses.mean(), limits, FEW_PATIENTS)
