"""Do 95 % intervals hold the truth 95 times in 100? Few patients, alike images, several generators.

Nothing of the code under test draws here. The quick cells keep below a minute on one core; the slow
ones walk the whole grid of docs/evaluation.md, whose table ``python -m`` prints:

    PYTHONPATH=. python tests/cerviclip/evaluation/test_coverage.py --samples 1000
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import pytest
from scipy.stats import norm

from cerviclip.evaluation.intervals import (
    Interval,
    auc_intervals,
    class_mean_interval,
    proportion_intervals,
)

EVENTS = (6, 12, 30, 90)
SIZES = ("1", "3", "20", "1-20")
ICCS = (0.0, 0.4, 0.8)
MEANS = ("balanced accuracy", "macro F1")
TRUTHS = (0.7, 0.85, 0.95, 0.98)


# -- generators ---------------------------------------------------------------------------------


def cluster_sizes(kind, shape, rng):
    """Images of each patient: all as many, or 1 to 20 with most of them few."""
    if kind == "1-20":
        return np.minimum(rng.geometric(0.15, shape), 20)
    return np.full(shape, int(kind))


def beta_binomial(share, icc, sizes, rng):
    """Right images of each patient, whose own rate is drawn from a beta distribution."""
    strength = (1 - icc) / max(icc, 1e-9)
    rates = share if icc == 0 else rng.beta(share * strength, (1 - share) * strength, sizes.shape)
    return rng.binomial(sizes, rates)


def random_probit(share, icc, sizes, rng):
    """The same by a normal patient effect; ``icc`` is that of the hidden normal variable."""
    effect = rng.normal(size=sizes.shape)
    rates = norm.cdf((norm.ppf(share) + np.sqrt(icc) * effect) / np.sqrt(1 - icc))
    return rng.binomial(sizes, rates)


BINARY = {"beta": beta_binomial, "probit": random_probit}


def binormal_scores(samples, patients, positive, auc, icc, rng):
    """(samples, B) scores of normal classes with one effect for all images of a patient."""
    effect = rng.normal(size=(samples, patients.max() + 1))[:, patients]
    noise = rng.normal(size=(samples, len(patients)))
    scores = np.sqrt(icc) * effect + np.sqrt(1 - icc) * noise
    return scores + positive * norm.ppf(auc) * np.sqrt(2)


def pure_patients(events, ratio, size, rng):
    """Patient numbers and labels, each patient's images of one class."""
    sizes = cluster_sizes(size, events * (1 + ratio), rng)
    patients = np.repeat(np.arange(len(sizes)), sizes)
    return patients, patients < events


def mixed_patients(events, ratio, size, rng):
    """The same, half the images of the diseased being negative."""
    patients, positive = pure_patients(events, ratio, size, rng)
    first = np.r_[True, patients[1:] != patients[:-1]]
    return patients, positive & (first | (rng.random(len(patients)) < 0.5))


# -- coverage -----------------------------------------------------------------------------------


def summary(interval, truth):
    """Coverage and mean width."""
    held = (interval.low <= truth + 1e-12) & (truth <= interval.high + 1e-12)
    assert (interval.low < interval.high).all()
    assert (interval.low >= 0).all() and (interval.high <= 1).all()
    return held.mean(), (interval.high - interval.low).mean()


def proportion_cell(model, events, size, icc, share, samples, rng):
    sizes = cluster_sizes(size, (samples, events), rng)
    return summary(proportion_intervals(BINARY[model](share, icc, sizes, rng), sizes), share)


def auc_cell(make, events, size, icc, auc, samples, rng, ratio=2):
    """Several patterns of labels, so that one lucky one does not decide."""
    found = []
    for _ in range(4):
        patients, positive = make(events, ratio, size, rng)
        scores = binormal_scores(samples // 4, patients, positive, auc, icc, rng)
        found.append(summary(auc_intervals(scores, positive, patients)[0], auc))
    return np.mean(found, axis=0)


def balanced_cell(model, events, size, icc, shares, samples, rng):
    """Balanced accuracy of five classes, ``events`` patients each, of unequal sensitivity."""
    classes = len(shares)
    parts, hits, trials = [], [], []
    for share in shares:
        sizes = cluster_sizes(size, (samples, events), rng)
        hits.append(BINARY[model](share, icc, sizes, rng))
        trials.append(sizes)
        parts.append(proportion_intervals(hits[-1], sizes))
    low, high = np.empty((2, samples))
    for s in range(samples):
        values = np.array([h[s].sum() / n[s].sum() for h, n in zip(hits, trials, strict=True)])
        influence = np.zeros((classes, classes * events))
        for c in range(classes):
            mine = slice(c * events, (c + 1) * events)
            influence[c, mine] = hits[c][s] - values[c] * trials[c][s]
        limits = Interval(np.array([p.low[s] for p in parts]), np.array([p.high[s] for p in parts]))
        low[s], high[s] = class_mean_interval(values, limits, influence.T)
    return summary(Interval(low, high), np.mean(shares))


def confused(events, size, icc, accuracy, samples, rng, classes=5):
    """Counts (samples, P, C) of hits, true and predicted images; each patient of one class.

    A patient's rates of predictions are drawn from a Dirichlet distribution. Recall, precision and
    F1 of each class are ``accuracy``.
    """
    own = np.repeat(np.eye(classes), events, axis=0)
    rates = np.full((samples, *own.shape), (1 - accuracy) / (classes - 1))
    rates[:] = np.where(own > 0, accuracy, rates)
    if icc > 0:
        rates = rng.gamma(rates * (1 - icc) / icc) + 1e-300
    sizes = cluster_sizes(size, rates.shape[:2], rng)
    predicted = rng.multinomial(sizes, rates / rates.sum(axis=2, keepdims=True))
    return predicted * own, sizes[:, :, None] * own, predicted


def macro_f1_cell(events, size, icc, accuracy, samples, rng):
    hits, support, predicted = confused(events, size, icc, accuracy, samples, rng)
    either = support + predicted - hits
    total = either.sum(axis=1)
    jaccard = hits.sum(axis=1) / total  # (samples, C)
    flat = [np.moveaxis(x, 1, 2).reshape(-1, x.shape[1]) for x in (hits, either)]
    parts = [2 * x / (1 + x) for x in proportion_intervals(*flat)]
    parts = [x.reshape(samples, -1) for x in parts]
    influence = (hits - jaccard[:, None] * either) * (2 / (1 + jaccard) ** 2 / total)[:, None]
    values = 2 * jaccard / (1 + jaccard)
    found = [
        class_mean_interval(values[s], Interval(parts[0][s], parts[1][s]), influence[s])
        for s in range(samples)
    ]
    return summary(Interval(*np.array(found).T), accuracy)


def precision_cell(events, size, icc, accuracy, samples, rng):
    """Of one class: hits among what is said to be of it, patients of all classes."""
    hits, _, predicted = confused(events, size, icc, accuracy, samples, rng)
    some = predicted[:, :, 0].sum(axis=1) > 0
    limits = proportion_intervals(hits[some, :, 0], predicted[some, :, 0])
    return summary(limits, accuracy)


def noise_allowed(wanted, samples):
    """The lowest coverage among some dozen cells that is no sign of a true one below ``wanted``."""
    return wanted - 3 * np.sqrt(wanted * (1 - wanted) / samples)


QUICK = [
    ("beta", 6, "20", 0.8, 0.7), ("beta", 6, "1", 0.0, 0.98), ("beta", 12, "20", 0.8, 0.85),
    ("beta", 12, "1-20", 0.4, 0.95), ("probit", 6, "1-20", 0.4, 0.85),
    ("probit", 12, "20", 0.8, 0.7), ("probit", 30, "20", 0.8, 0.85), ("probit", 90, "3", 0.4, 0.98),
    ("beta", 30, "1", 0.0, 0.85), ("beta", 90, "20", 0.4, 0.7),
]  # fmt: skip


@pytest.mark.parametrize(("model", "events", "size", "icc", "share"), QUICK)
def test_proportions(model, events, size, icc, share):
    rng = np.random.default_rng(events + int(1000 * share))
    coverage, _ = proportion_cell(model, events, size, icc, share, 400, rng)
    assert coverage >= noise_allowed(0.93, 400)


@pytest.mark.parametrize("auc", [0.7, 0.85, 0.98])
@pytest.mark.parametrize(
    ("make", "events", "size", "icc"),
    [
        (pure_patients, 6, "1", 0.0),
        (pure_patients, 12, "1-20", 0.8),
        (mixed_patients, 6, "20", 0.4),
        (mixed_patients, 30, "3", 0.8),
    ],
)
def test_auc(make, events, size, icc, auc):
    coverage, _ = auc_cell(make, events, size, icc, auc, 400, np.random.default_rng(events))
    assert coverage >= noise_allowed(0.93, 400)


@pytest.mark.parametrize(("events", "size", "icc"), [(6, "1", 0.0), (6, "20", 0.8), (30, "3", 0.4)])
def test_balanced_accuracy_of_five_classes(events, size, icc):
    shares = (0.98, 0.95, 0.9, 0.8, 0.7)
    rng = np.random.default_rng(events)
    coverage, _ = balanced_cell("beta", events, size, icc, shares, 400, rng)
    assert coverage >= noise_allowed(0.91 if events < 12 else 0.93, 400)


@pytest.mark.parametrize("accuracy", [0.7, 0.95])
@pytest.mark.parametrize(("events", "size", "icc"), [(6, "1", 0.0), (6, "20", 0.8), (30, "3", 0.4)])
def test_macro_f1_and_precision_of_five_classes(events, size, icc, accuracy):
    rng = np.random.default_rng(events)
    coverage, _ = macro_f1_cell(events, size, icc, accuracy, 300, rng)
    assert coverage >= noise_allowed(0.91 if events < 12 else 0.93, 300)
    coverage, _ = precision_cell(events, size, icc, accuracy, 300, rng)
    assert coverage >= noise_allowed(0.93, 300)


def grid(samples, rng):
    """(metric, generator, events, images, icc, truth, coverage, width) of every cell."""
    for events, size, icc in itertools.product(EVENTS, SIZES, ICCS):
        if size == "1" and icc:
            continue
        for truth in TRUTHS:
            for model in BINARY:
                found = proportion_cell(model, events, size, icc, truth, samples, rng)
                yield "proportion", model, events, size, icc, truth, *found
            if size in ("20", "1-20") and events > 30:
                continue  # AUCs of thousands of images take minutes
            for name, cell in (("macro F1", macro_f1_cell), ("precision", precision_cell)):
                found = cell(events, size, icc, truth, samples // 2, rng)
                yield name, "Dirichlet", events, size, icc, truth, *found
            for make in (pure_patients, mixed_patients):
                found = auc_cell(make, events, size, icc, truth, samples, rng)
                yield "AUC", make.__name__, events, size, icc, truth, *found
        for model in BINARY:
            shares = (0.98, 0.95, 0.9, 0.8, 0.7)
            found = balanced_cell(model, events, size, icc, shares, samples, rng)
            yield "balanced accuracy", model, events, size, icc, np.mean(shares), *found


@pytest.mark.slow
def test_the_whole_grid():
    low = [
        row
        for row in grid(400, np.random.default_rng(0))
        if row[6] < noise_allowed(0.91 if row[0] in MEANS and row[2] < 12 else 0.93, 200)
    ]
    assert not low


def print_table(rows):
    print(
        "| metric | events | cells | least coverage | mean coverage | mean width |\n|" + "---|" * 6
    )
    for metric, events in sorted({(row[0], row[2]) for row in rows}):
        mine = np.array([row[6:] for row in rows if (row[0], row[2]) == (metric, events)])
        numbers = f"{mine[:, 0].min():.3f} | {mine[:, 0].mean():.3f} | {mine[:, 1].mean():.3f}"
        print(f"| {metric} | {events} | {len(mine)} | {numbers} |")
    print("\nlowest cells:")
    for row in sorted(rows, key=lambda r: r[6])[:10]:
        print(
            "  ", *row[:5], round(row[5], 3), "covers", round(row[6], 3), "width", round(row[7], 3)
        )


def main():
    parser = argparse.ArgumentParser(description="Print coverage and width by metric and events.")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print_table(list(grid(args.samples, np.random.default_rng(args.seed))))


if __name__ == "__main__":
    main()
