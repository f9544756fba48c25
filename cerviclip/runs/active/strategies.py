"""Which of the unlabelled to label next: pure functions that see no label.

A unit is an image, or a patient with all images. Letters: N units of the pool, M labelled units, D
feature dim, C classes. All strategies are deterministic: ties fall by a hash of the unit's name and
the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cerviclip.data.split.patient_grouped import hash_order
from dassl.errors import UserError, did_you_mean

NEIGHBOURS = 20  # of TypiClust's typicality
LEAST_CLUSTER = 5  # smaller clusters come last, as in TypiClust's code
MOST_CLUSTERS = 500


@dataclass(frozen=True)
class Pool:
    """What a choice may know.

    Args:
        names: (N,) of the units.
        features: (N, D), L2-normalised; None where the strategy needs none.
        probs: (N, C) of the model as it is; None before there is one.
        labelled: (M, D) features of units that have labels already.
        seed: of the ties and of what is drawn.
    """

    names: Sequence[str]
    seed: int
    features: np.ndarray | None = None
    probs: np.ndarray | None = None
    labelled: np.ndarray | None = None

    def order(self) -> np.ndarray:
        """Places in an order that looks random, by names and seed alone."""
        place = {name: i for i, name in enumerate(self.names)}
        return np.array([place[n] for n in hash_order(self.names, "active", self.seed)], np.int64)


@dataclass(frozen=True)
class Choice:
    """Places in the pool, first chosen first, and why: greater scores come first."""

    places: np.ndarray
    scores: np.ndarray


def choose(strategy: str, pool: Pool, count: int) -> Choice:
    """The next ``count`` units to label, fewer where the pool has fewer."""
    return STRATEGIES[check_strategy(strategy)](pool, min(count, len(pool.names)))


def check_strategy(name: str) -> str:
    if name not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise UserError(
            f"no strategy {name!r}{did_you_mean(name, STRATEGIES)} (there are: {known})"
        )
    return name


def by_chance(pool: Pool, count: int) -> Choice:
    """Units drawn without regard to anything."""
    return Choice(pool.order()[:count], np.zeros(count))


def _by_score(pool: Pool, scores: np.ndarray, count: int) -> Choice:
    """The greatest scores first; equal ones in the order of chance."""
    order = pool.order()
    places = order[np.argsort(-scores[order], kind="stable")][:count]
    return Choice(places, scores[places])


def by_entropy(pool: Pool, count: int) -> Choice:
    """Where the model's probabilities are spread most widely, in nats."""
    p = np.clip(_needed(pool.probs), 1e-12, 1.0)
    return _by_score(pool, -(p * np.log(p)).sum(axis=1), count)


def by_margin(pool: Pool, count: int) -> Choice:
    """Where the two most probable classes are nearest; the score is minus their distance."""
    two = np.sort(_needed(pool.probs), axis=1)[:, -2:]
    return _by_score(pool, two[:, 0] - two[:, 1], count)


def by_core_set(pool: Pool, count: int) -> Choice:
    """K-center greedy (Sener and Savarese, ICLR 2018, arXiv:1708.00489): the unit that is furthest
    from all that are labelled or chosen, again and again; the score is that distance."""
    features, order = _needed(pool.features), pool.order()
    if pool.labelled is not None and len(pool.labelled):
        nearest = _distances(features, pool.labelled).min(axis=1)
    else:
        nearest = np.full(len(features), np.inf)
    places: list[int] = []
    scores: list[float] = []
    for _ in range(count):
        best = order[np.argmax(nearest[order])]
        places.append(best)
        scores.append(nearest[best] if np.isfinite(nearest[best]) else 0.0)
        nearest = np.minimum(nearest, _distances(features, features[best : best + 1])[:, 0])
        nearest[best] = -1.0
    return Choice(np.array(places, np.int64), np.array(scores))


def by_typical_clusters(pool: Pool, count: int) -> Choice:
    """TypiClust (Hacohen et al., ICML 2022, arXiv:2202.02794): as many clusters as there will be
    labels; of the largest clusters without one the most typical unit, whose mean distance to its
    nearest neighbours in the cluster is least. The score is the inverse of that distance."""
    from sklearn.cluster import KMeans

    features = _needed(pool.features)
    labelled = pool.labelled if pool.labelled is not None else np.zeros((0, features.shape[1]))
    every = np.concatenate([features, labelled])
    clusters = min(len(labelled) + count, len(every), MOST_CLUSTERS)
    found = KMeans(clusters, n_init=1, random_state=pool.seed).fit_predict(every.astype(float))
    own, covered = found[: len(features)], np.bincount(found[len(features) :], minlength=clusters)
    left = {c: list(np.flatnonzero(own == c)) for c in range(clusters)}
    places: list[int] = []
    scores: list[float] = []
    while len(places) < count:
        sizes = {c: len(members) for c, members in left.items() if members}
        cluster = min(
            sizes, key=lambda c: (sizes[c] < LEAST_CLUSTER, covered[c], -sizes[c], c)
        )  # first those that can be typical, without labels, large
        typical = _typicality(features[left[cluster]])
        best = int(typical.argmax())
        places.append(int(left[cluster].pop(best)))
        scores.append(float(typical[best]))
        covered[cluster] += 1
    return Choice(np.array(places, np.int64), np.array(scores))


def _typicality(features: np.ndarray) -> np.ndarray:
    """Inverse of each row's mean distance to its nearest neighbours among the rows (N, D)."""
    if len(features) == 1:
        return np.ones(1)
    near = np.sort(_distances(features, features), axis=1)[:, 1 : 1 + NEIGHBOURS]
    return 1 / np.maximum(near.mean(axis=1), 1e-6)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, M) of rows (N, D) and (M, D)."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0.0))


def _needed(values: np.ndarray | None) -> np.ndarray:
    assert values is not None, "the caller gives each strategy what it needs"
    return values


STRATEGIES: dict[str, Callable[[Pool, int], Choice]] = {
    "random": by_chance,
    "entropy": by_entropy,
    "margin": by_margin,
    "coreset": by_core_set,
    "typiclust": by_typical_clusters,
}
NEEDS_MODEL = ("entropy", "margin")
NEEDS_FEATURES = ("coreset", "typiclust")
"""Strategies whose first round, too, looks at the images; the others begin by chance."""
COLD = ("typiclust",)
