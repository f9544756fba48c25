"""Which interval covers, and which is narrowest: ours against the usual ones, on simulated studies.

The studies come from a generator of this file's own; each method sees the same ones.

    PYTHONPATH=. python tests/interval_candidates.py --samples 300
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta, norm

from cerviclip.evaluation.bounds import center_bounds
from cerviclip.evaluation.intervals import (
    auprc_interval,
    brier_interval,
    kappa_interval,
    log_loss_interval,
)
from cerviclip.evaluation.intervals.auc import obuchowski_variance, placements
from cerviclip.evaluation.intervals.measures import (
    average_precision,
    brier,
    kappa,
    log_loss,
    quadratic_kappa,
)
from cerviclip.evaluation.measures import Sample
from cerviclip.evaluation.measures.discrimination import kappa as blocks_kappa
from cerviclip.evaluation.measures.discrimination import quadratic_kappa as blocks_quadratic_kappa
from cerviclip.evaluation.measures.probabilities.losses import loss_cells

RESAMPLES = 200
LEVEL = 0.95
SEPARATIONS = (1.0, 2.0, 3.5)  # of the true class's logit, in standard deviations of the noise
SHAPES = (("1", 0.0), ("4", 0.4), ("10", 0.8))  # images a patient, correlation of her logits


@dataclass(frozen=True)
class Study:
    """One simulated test set; ``probs`` (B, C), classes as many as ``counts``."""

    labels: np.ndarray
    probs: np.ndarray
    patients: np.ndarray


def draw_study(counts, separation, size, icc, rng):
    """Patients of one class each, logits with an effect of the patient."""
    sizes = np.full(sum(counts), int(size))
    patients = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.repeat(np.arange(len(counts)), counts)[patients]
    effect = rng.normal(size=(len(sizes), len(counts)))[patients]
    logits = np.sqrt(icc) * effect + np.sqrt(1 - icc) * rng.normal(size=effect.shape)
    logits += separation * np.eye(len(counts))[labels]
    odds = np.exp(1.5 * (logits - logits.max(axis=1, keepdims=True)))
    return Study(labels, odds / odds.sum(axis=1, keepdims=True), patients)


# -- statistics under image weights (R, N) ------------------------------------------------------


def share(hits, among):
    def statistic(labels, probs, weights):
        said = probs.argmax(axis=1)
        chosen = among(labels, said)
        total = weights @ chosen
        top = weights @ (hits(labels, said) & chosen)
        return np.divide(top, total, out=np.full(len(weights), np.nan), where=total > 0)

    return statistic


def right(labels, said):
    return labels == said


def class_sums(labels, probs, weights):
    one, said = np.eye(probs.shape[1]), probs.argmax(axis=1)
    return (weights @ (one[labels] * one[said]), weights @ one[labels], weights @ one[said])


def balanced_accuracy(labels, probs, weights):
    hits, true, _ = class_sums(labels, probs, weights)
    with np.errstate(invalid="ignore"):
        return np.nanmean(hits / true, axis=1)


def macro_f1(labels, probs, weights):
    hits, true, told = class_sums(labels, probs, weights)
    with np.errstate(invalid="ignore"):
        return np.nanmean(np.where(true > 0, 2 * hits / (true + told), np.nan), axis=1)


def auprc(labels, probs, weights):
    return average_precision(labels, probs[:, 1], weights)


def auc_of(positive, scores, weights):
    """Weighted share of pairs in the right order; scores are without ties."""
    order = np.argsort(scores)
    positive, weights = positive[order], weights[:, order]
    negatives = np.cumsum(weights * ~positive, axis=1)
    wins = (weights * positive * negatives).sum(axis=1)
    pairs = (weights * positive).sum(axis=1) * negatives[:, -1]
    return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def auc(labels, probs, weights):
    return auc_of(labels == 1, probs[:, 1], weights)


def macro_auc(labels, probs, weights):
    classes = range(probs.shape[1])
    return np.mean([auc_of(labels == c, probs[:, c], weights) for c in classes], axis=0)


def sample_of(study):
    classes = tuple(f"c{c}" for c in range(study.probs.shape[1]))
    ids = [str(number) for number in study.patients]
    return Sample.of("test", study.labels, study.probs, ids, classes, classes[1:2])


def from_blocks(make):
    """Limits as the blocks of results.json state them."""

    def ours(study):
        found = make(sample_of(study))
        return found["low"], found["high"]

    return ours


def losses(name):
    return from_blocks(lambda s: loss_cells(s.labels, s.probs, s.patients)[name])


def from_bounds(name):
    def ours(study):
        group = np.arange(study.probs.shape[1]) == 1
        said = study.probs.argmax(axis=1)
        found = center_bounds(study.labels, study.probs, said, study.patients, group)[name]
        return found if name.endswith("auc") else found / 100

    return ours


def own(function, **how):
    return lambda s: function(s.labels, s.probs, s.patients, **how)[1:3]


METRICS = {  # name -> statistic, ours, binary or five classes
    "accuracy": (share(right, lambda y, s: y >= 0), from_bounds("accuracy"), 5),
    "sensitivity": (share(right, lambda y, s: y == 1), from_bounds("binary/sensitivity"), 2),
    "PPV": (share(right, lambda y, s: s == 1), from_bounds("binary/ppv"), 2),
    "balanced accuracy": (balanced_accuracy, from_bounds("balanced_accuracy"), 5),
    "macro F1": (macro_f1, from_bounds("macro_f1"), 5),
    "kappa": (kappa, own(kappa_interval), 5),
    "quadratic kappa": (quadratic_kappa, own(kappa_interval, quadratic=True), 5),
    "AUPRC": (auprc, lambda s: auprc_interval(s.labels, s.probs[:, 1], s.patients)[1:3], 2),
    "Brier": (brier, own(brier_interval), 5),
    "log loss": (log_loss, own(log_loss_interval), 5),
    "AUC": (auc, from_bounds("binary/auc"), 2),
    "macro AUC": (macro_auc, from_bounds("macro_auc"), 5),
    "kappa, in blocks": (kappa, from_blocks(blocks_kappa), 5),
    "quadratic kappa, in blocks": (
        quadratic_kappa,
        from_blocks(lambda s: blocks_quadratic_kappa(s, s.classnames)),
        5,
    ),
    "Brier, in blocks": (brier, losses("brier"), 5),
    "log loss, in blocks": (log_loss, losses("log_loss"), 5),
}
PROPORTIONS = {"accuracy", "sensitivity", "PPV"}


# -- the usual methods --------------------------------------------------------------------------


def patient_weights(study, rng):
    count = study.patients.max() + 1
    return rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)[:, study.patients]


def percentiles(values):
    return np.nanquantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))


def bootstrap(statistic, study, rng):
    return percentiles(statistic(study.labels, study.probs, patient_weights(study, rng)))


def bayesian_bootstrap(statistic, study, rng):
    weights = rng.standard_exponential((RESAMPLES, study.patients.max() + 1))[:, study.patients]
    return percentiles(statistic(study.labels, study.probs, weights))


def hierarchical_bootstrap(statistic, study, rng):
    """Patients with replacement, then the images of each with replacement."""
    size = np.bincount(study.patients)[0]
    times = patient_weights(study, rng)[:, ::size]
    within = rng.multinomial(times * size, np.full(size, 1 / size))
    return percentiles(statistic(study.labels, study.probs, within.reshape(RESAMPLES, -1)))


def bca(statistic, study, rng):
    """Bias-corrected and accelerated (Efron 1987), acceleration by leaving one patient out."""
    values = statistic(study.labels, study.probs, patient_weights(study, rng))
    values = values[~np.isnan(values)]
    point = statistic(study.labels, study.probs, np.ones((1, len(study.labels))))[0]
    without = 1.0 - np.eye(study.patients.max() + 1)[:, study.patients]
    left = statistic(study.labels, study.probs, without)
    left = np.nanmean(left) - left[~np.isnan(left)]
    below = (values < point).mean() + (values == point).mean() / 2
    if len(values) == 0 or not 0 < below < 1 or not (left**2).sum():
        return percentiles(values)
    z0, a = norm.ppf(below), (left**3).sum() / (6 * (left**2).sum() ** 1.5)
    z = z0 + norm.ppf(((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return np.quantile(values, norm.cdf(z0 + z / (1 - a * z)))


def effective(statistic, study):
    """Share, and images over the design effect that the patients show (1 where they show none)."""
    one = np.ones((1, len(study.labels)))
    point = statistic(study.labels, study.probs, one)[0]
    nothing = statistic(study.labels, study.probs, np.eye(len(study.labels)))
    known = ~np.isnan(nothing)
    hits, images, where = nothing[known], known.sum(), study.patients[known]
    sums = np.bincount(where, hits - point)
    count = len(np.unique(where))
    variance = (sums**2).sum() / images**2 * count / max(count - 1, 1)
    if variance <= 0:
        return point, images
    return point, max(min(point * (1 - point) / variance, images), 1.0)


def wilson_with_design(statistic, study, _):
    p, n = effective(statistic, study)
    z2 = norm.ppf((1 + LEVEL) / 2) ** 2
    middle, half = p + z2 / (2 * n), np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2)))
    return (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)


def clopper_pearson_with_design(statistic, study, _):
    p, n = effective(statistic, study)
    tail, x = (1 - LEVEL) / 2, p * n
    low = beta.ppf(tail, x, n - x + 1) if x > 0 else 0.0
    return low, beta.ppf(1 - tail, x + 1, n - x) if x < n else 1.0


def delong_by_patient(_, study, __):
    """DeLong's variance summed by patient (Obuchowski), on the logit scale."""
    positive = study.labels == 1
    placed = placements(study.probs[None, :, 1], positive, study.patients)
    area = placed.auc[0]
    if not 0 < area < 1:
        return area, area
    error = np.sqrt(obuchowski_variance(placed, positive, study.patients)[0])
    reach = norm.ppf((1 + LEVEL) / 2) * error / (area * (1 - area))
    return expit(logit(area) - reach), expit(logit(area) + reach)


USUAL = {
    "percentile bootstrap": bootstrap,
    "BCa": bca,
    "Bayesian bootstrap": bayesian_bootstrap,
    "hierarchical bootstrap": hierarchical_bootstrap,
}
FOR_SHARES = {
    "Wilson, design effect": wilson_with_design,
    "Clopper-Pearson, design effect": clopper_pearson_with_design,
}


# -- simulation ---------------------------------------------------------------------------------


def counts_of(events, classes):
    """Patients of each class; of two classes twice as many without the event."""
    return (2 * events, events) if classes == 2 else (events,) * classes


def truth_of(statistic, events, classes, separation, icc, rng):
    """The statistic of one very large study with the same mix of classes."""
    factor = 60_000 // sum(counts_of(events, classes))
    counts = tuple(factor * n for n in counts_of(events, classes))
    study = draw_study(counts, separation, 1, icc, rng)
    return statistic(study.labels, study.probs, np.ones((1, len(study.labels))))[0]


def methods_for(metric):
    statistic, ours, _ = METRICS[metric]
    usual = USUAL | (FOR_SHARES if metric in PROPORTIONS else {})
    usual |= {"DeLong by patient, logit": delong_by_patient} if metric == "AUC" else {}

    def bound(method):
        return lambda study, rng: method(statistic, study, rng)

    return {"ours": lambda study, _: ours(study)} | {k: bound(m) for k, m in usual.items()}


def cell(metric, events, shape, separation, samples, rng, methods=None):
    """Method -> (coverage, mean width) of studies in which the metric is defined."""
    statistic, _, classes = METRICS[metric]
    truth = truth_of(statistic, events, classes, separation, shape[1], rng)
    methods = methods or methods_for(metric)
    found = {name: [] for name in methods}
    for _ in range(samples):
        study = draw_study(counts_of(events, classes), separation, *shape, rng)
        if np.isnan(statistic(study.labels, study.probs, np.ones((1, len(study.labels)))))[0]:
            continue
        for name, method in methods.items():
            low, high = method(study, rng)
            found[name].append((low <= truth <= high, high - low))
    return {name: tuple(np.mean(rows, axis=0)) for name, rows in found.items()}


def grid(metrics, events, samples, rng):
    for metric, n, shape, separation in itertools.product(metrics, events, SHAPES, SEPARATIONS):
        yield metric, n, shape, separation, cell(metric, n, shape, separation, samples, rng)


def print_table(rows):
    print("| metric | events | method | least coverage | mean coverage | mean width |")
    print("|" + "---|" * 6)
    for metric, n in dict.fromkeys((row[0], row[1]) for row in rows):
        cells = [row[4] for row in rows if (row[0], row[1]) == (metric, n)]
        for name in cells[0]:
            mine = np.array([c[name] for c in cells])
            numbers = f"{mine[:, 0].min():.3f} | {mine[:, 0].mean():.3f} | {mine[:, 1].mean():.3f}"
            print(f"| {metric} | {n} | {name} | {numbers} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Coverage and width of ours and the usual methods")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), choices=list(METRICS))
    parser.add_argument("--events", nargs="+", type=int, default=[6, 12, 30])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    for metric, events in itertools.product(args.metrics, args.events):
        print_table(list(grid([metric], [events], args.samples, rng)))


if __name__ == "__main__":
    main()
