"""Intervals of proportions whose trials are images and whose independent units are patients.

Images of one patient are alike, so 240 images of 12 patients say less than 240 patients. How much
less follows from the intraclass correlation (ICC), and few patients cannot tell the ICC: all right
in 12 patients fits an ICC of 0 as well as one of 0.8. So the ICC is not estimated by one number;
every value from 0 to 1 counts by how well a beta-binomial model with it fits the patients. The mean
of this distribution gives the effective number of images, and that gives a binomial interval.

Letters: M proportions, P patients, G values of the ICC, Q values of p for each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import betaincinv, betaln, gammaln, ndtri, stdtrit

from cerviclip.evaluation.intervals.binomial import Interval, mid_p_or_wilson
from cerviclip.evaluation.intervals.memory import Memory, key_of, read_only

METHOD = "mid-P and Wilson on the effective number of images (beta-binomial ICC)"
_ROOTS = (np.arange(20) + 0.5) / 20
ICC_GRID = _ROOTS**3  # denser near 0, where large clusters tell values apart
_ICC_PRIOR = _ROOTS**2  # makes every ICC from 0 to 1 equally likely beforehand
_NODES = (np.arange(12) + 0.5) / 12
_CAUTION = 0.25  # standard deviations of the ICC that are added to its mean
_TRUST = 20.0  # patients with errors at which the observed spread counts one half
_CHUNK = 4_000_000  # numbers held at once


Counts = tuple[np.ndarray, np.ndarray]  # hits and trials, (M, P) each
_memory: Memory[Interval] = Memory()
_nodes_memory: Memory[np.ndarray] = Memory(4096)  # of 4 kB each


def proportion_intervals(hits: np.ndarray, trials: np.ndarray, level: float = 0.95) -> Interval:
    """Intervals of ``hits.sum() / trials.sum()``, each row a proportion of its own.

    Args:
        hits: (M, P) right images of each patient.
        trials: (M, P) images of each patient; a patient without any does not count.
        level: nominal coverage.

    Returns:
        (M,) limits between 0 and 1, never equal; NaN where there are no trials.
    """
    return several_proportion_intervals([(hits, trials)], level)[0]


def several_proportion_intervals(parts: Sequence[Counts], level: float = 0.95) -> list[Interval]:
    """The intervals of several calls in one search, each as its own call gives it.

    Args:
        parts: hits and trials of each call, as ``proportion_intervals`` takes them.
        level: nominal coverage.
    """
    pairs = [(np.atleast_2d(h).astype(float), np.atleast_2d(t).astype(float)) for h, t in parts]
    keys = [(level, key_of(*pair)) for pair in pairs]
    found = {key: known for key in keys if (known := _memory.get(key)) is not None}
    new = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in found}
    found |= zip(new, _solve(list(new.values()), level), strict=True)
    for key in keys:
        _memory.put(key, found[key])
    return [found[key] for key in keys]


def _solve(parts: Sequence[Counts], level: float) -> list[Interval]:
    """The limits of each part; the slow steps are taken for the rows of all parts together."""
    some = [trials.sum(axis=1) > 0 for _, trials in parts]
    counts = [(h[here], t[here]) for (h, t), here in zip(parts, some, strict=True)]
    weights = _icc_weights_of(counts)
    sizes = [_size(*pair, w, level) for pair, w in zip(counts, weights, strict=True)]
    shares = [h.sum(axis=1) / t.sum(axis=1) for h, t in counts]
    if not shares:
        return []
    limits = mid_p_or_wilson(np.concatenate(shares), np.concatenate(sizes), level)
    out, start = [], 0
    for here in some:
        low, high = np.full((2, len(here)), np.nan)
        end = start + here.sum()
        low[here], high[here] = limits.low[start:end], limits.high[start:end]
        read_only(low, high)
        out.append(Interval(low, high))
        start = end
    return out


def _icc_weights_of(counts: Sequence[Counts]) -> list[np.ndarray]:
    """The (M, G) weights of each part's rows that have several images of a patient.

    Equal rows are computed once. Rows of one number of patients are computed together.
    """
    rows: dict[int, dict[bytes, Counts]] = {}
    keys = []
    for hits, trials in counts:
        several = (trials > 1).any(axis=1)  # with one image a patient nothing is alike
        found = [(h, t) for h, t in zip(hits[several], trials[several], strict=True)]
        keys.append([(len(h), h.tobytes() + t.tobytes()) for h, t in found])
        for (size, key), pair in zip(keys[-1], found, strict=True):
            rows.setdefault(size, {}).setdefault(key, pair)
    known: dict[tuple[int, bytes], np.ndarray] = {}
    for size, of in rows.items():
        hits, trials = (np.stack(side) for side in zip(*of.values(), strict=True))
        weights = icc_weights(hits, trials)
        known |= {(size, key): row for key, row in zip(of, weights, strict=True)}
    return [np.array([known[key] for key in part]).reshape(-1, len(ICC_GRID)) for part in keys]


def effective_trials(hits: np.ndarray, trials: np.ndarray, level: float = 0.95) -> np.ndarray:
    """(M,) how many independent images say as much as the (M, P) images of these patients."""
    return _size(hits, trials, _icc_weights_of([(hits, trials)])[0], level)


def _size(hits: np.ndarray, trials: np.ndarray, weights: np.ndarray, level: float) -> np.ndarray:
    """The same, from the weights of the rows that have several images of a patient."""
    total, patients = trials.sum(axis=1), (trials > 0).sum(axis=1)
    mean, spread = np.zeros((2, len(hits)))
    several = (trials > 1).any(axis=1)
    if several.any():
        mean[several], spread[several] = icc_moments(weights)
    icc = np.minimum(1.0, (mean + _CAUTION * spread) * (1 + (few(patients, level) - 1) / 2))
    size = total / (1 + ((trials**2).sum(axis=1) / total - 1) * icc)
    return np.clip(size * _observed_ratio(hits, trials, size), 1.0, total)


def few(units: np.ndarray | int, level: float = 0.95) -> np.ndarray:
    """Square of Student's over the normal quantile: above 1 where units are few."""
    tail = 0.5 + level / 2
    return (stdtrit(np.maximum(units - 1, 1), tail) / ndtri(tail)) ** 2


def icc_moments(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, (M,) each, of the ICC under (M, G) weights."""
    mean = weights @ ICC_GRID
    return mean, np.sqrt(np.maximum(weights @ ICC_GRID**2 - mean**2, 0.0))


def icc_weights(hits: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """(M, G) how likely (M, P) patients' counts make each ICC of the grid."""
    per_row = max(1, hits.shape[1], len(ICC_GRID) * len(_NODES))
    rows = max(1, _CHUNK // per_row)
    parts = [
        _icc_weights(hits[i : i + rows], trials[i : i + rows]) for i in range(0, len(hits), rows)
    ]
    return np.concatenate(parts)


def _icc_weights(hits: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """(M, G) posterior weights, p integrated out under Jeffreys' prior.

    For each ICC, p runs over quantiles of a beta distribution that is as wide as the likelihood
    ought to be; each is weighted by prior over density, as in importance sampling.
    """
    p, log_prior_ratio = _nodes_of(hits.sum(axis=1), trials.sum(axis=1), (trials**2).sum(axis=1))
    strength = ((1 - ICC_GRID) / ICC_GRID)[:, None]
    fit = _rising(hits, p * strength) + _rising(trials - hits, (1 - p) * strength)
    fit -= _rising(trials, strength[None])  # the same for every p
    log_weight = fit + log_prior_ratio
    top = log_weight.max(axis=(1, 2), keepdims=True)
    weights = np.exp(log_weight - top).sum(axis=2) * _ICC_PRIOR
    return weights / weights.sum(axis=1, keepdims=True)


def _nodes_of(
    right: np.ndarray, total: np.ndarray, squares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(M, G, Q) values of p, and logarithms of prior over density at each.

    They are slow to find and follow from three numbers, which all runs on the same images share.

    Args:
        right: (M,) sums of hits.
        total: (M,) sums of trials.
        squares: (M,) sums of squared trials.
    """
    keys = list(zip(right.tolist(), total.tolist(), squares.tolist(), strict=True))
    found = {key: known for key in keys if (known := _nodes_memory.get(key)) is not None}
    new = [key for key in dict.fromkeys(keys) if key not in found]
    if new:
        right, total, squares = np.array(new).T
        design = 1 + (squares / total - 1)[:, None] * ICC_GRID
        a = (right[:, None] / design + 0.5)[:, :, None]  # (M, G, 1)
        b = ((total - right)[:, None] / design + 0.5)[:, :, None]
        p = np.clip(betaincinv(a, b, _NODES), 1e-9, 1 - 1e-9)  # (M, G, Q)
        ratio = betaln(a, b) - a * np.log(p) - b * np.log1p(-p)  # common factors left out
        ratio += 0.5 * (np.log(p) + np.log1p(-p))
        for key, pair in zip(new, np.stack([p, ratio], axis=1), strict=True):
            found[key] = pair
            _nodes_memory.put(key, pair)
    both = np.stack([found[key] for key in keys])
    return both[:, 0], both[:, 1]


def _rising(counts: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Sum over patients of log(start (start + 1) ... (start + count - 1)).

    Of (M, P) counts and a start that is (M, G, Q), or (1, G, 1) for all rows and p.
    """
    values = np.unique(counts)
    out = np.zeros((len(counts), *start.shape[1:]))
    base = gammaln(start)
    for value in values[values > 0]:
        patients = (counts == value).sum(axis=1)
        here = np.flatnonzero(patients)
        at = start[here] if len(start) > 1 else start
        under = base[here] if len(start) > 1 else base
        out[here] += patients[here, None, None] * (gammaln(at + value) - under)
    return out


def _observed_ratio(hits: np.ndarray, trials: np.ndarray, size: np.ndarray) -> np.ndarray:
    """What the observed spread of patients says of ``size``: a factor, 1 while they are few.

    The model takes the number of a patient's images as unrelated to her errors. Where it is
    related, as in a PPV of patients who have many or few positive images, only the spread of
    patients about the ratio (the variance that survey statistics use) is right. It is
    trusted as far as there are patients with and without errors.
    """
    total, patients = trials.sum(axis=1), (trials > 0).sum(axis=1)
    share = hits.sum(axis=1) / total
    squares = ((hits - share[:, None] * trials) ** 2).sum(axis=1)
    variance = squares / total**2 * patients / np.maximum(patients - 1, 1)
    telling = np.minimum((hits < trials).sum(axis=1), (hits > 0).sum(axis=1))
    clustered = (trials > 1).any(axis=1)
    known = clustered & (variance > 0) & (telling > 0)
    ratio = np.ones(len(hits))
    np.divide(share * (1 - share), variance * size, out=ratio, where=known)
    return np.clip(ratio, 0.2, 5.0) ** (telling / (telling + _TRUST))
