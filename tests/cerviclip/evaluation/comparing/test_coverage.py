"""Intervals of differences hold the true one, in studies drawn from a probit model of its own."""

import numpy as np
import pytest
from scipy.stats import norm

from cerviclip.evaluation.comparing.difference import difference_of
from cerviclip.evaluation.comparing.quantities import quantity

#: patients, images a patient, runs, intraclass correlation, second method's gain, sd of runs
CELLS = [
    (20, 1, 1, 0.0, 0.0, 0.0), (20, 10, 1, 0.8, 0.0, 0.0), (40, 8, 1, 0.8, 0.3, 0.0),
    (60, 5, 1, 0.4, 0.3, 0.0), (26, 5, 3, 0.4, 0.3, 0.15), (60, 3, 3, 0.3, 0.2, 0.4),
]  # fmt: skip
MEAN = 1.2


def study(rng, patients, images, runs, icc, gain, run_sd):
    """Labels, each method's probabilities and patient numbers; an image is right above 0."""
    of = np.repeat(np.arange(patients), images)
    labels = (np.arange(patients) < 0.3 * patients).astype(int)[of]
    shared = np.sqrt(icc) * rng.normal(size=patients)[of]
    shared = shared + np.sqrt(1 - icc) * rng.normal(size=len(of))
    methods = []
    for more in (0.0, gain):
        own = np.sqrt(icc) * rng.normal(size=patients)[of]
        made = []
        for _ in range(runs):
            noise = own + np.sqrt(1 - icc) * rng.normal(size=len(of))
            level = MEAN + more + run_sd * rng.normal()
            z = (level + np.sqrt(0.6) * shared + np.sqrt(0.4) * noise) * np.where(labels, 1, -1)
            made.append(np.stack([1 - norm.cdf(z), norm.cdf(z)], axis=1))
        methods.append(made)
    return labels, *methods, of


def true_difference(name, gain, run_sd):
    rates = [MEAN, MEAN + gain]
    if name == "accuracy":
        one, two = norm.cdf(np.array(rates) / np.sqrt(1 + run_sd**2))
        return 100 * (one - two)
    one, two = norm.cdf(2 * np.array(rates) / np.sqrt(2 + 4 * run_sd**2))
    return one - two


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("name", ["accuracy", "binary.auc"])
def test_coverage(name, cell):
    """Of 200 studies; a method that covers 0.95 shows less than 0.90 once in five hundred."""
    rng, q, held = np.random.default_rng(17), quantity(name), 0
    truth = true_difference(name, *cell[4:])
    for i in range(200):
        labels, one, two, patients = study(rng, *cell)
        if q.delong:
            one, two = ([probs[:, 1] for probs in runs] for runs in (one, two))
        found = difference_of(q, labels, one, two, patients, paired=True, seed=i)
        low, high = found.limits(q.widest * q.scale)
        held += low <= truth <= high
    print(f"{name} {cell}: {held / 200:.3f}")
    assert held / 200 >= 0.90


def test_methods_that_agree_on_every_patient_have_an_interval_of_some_width():
    labels = np.tile([0, 1], 10)
    sure, unsure = (np.eye(2)[labels] * 2 * x + 0.5 - x for x in (0.4, 0.2))
    q = quantity("accuracy")
    found = difference_of(q, labels, [sure], [unsure], np.arange(20), paired=True, seed=1)
    low, high = found.limits(100)
    assert low < found.value == 0 < high and found.p() == 1
