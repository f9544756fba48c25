"""Ours against the usual intervals on studies of another generator (``interval_candidates``)."""

import numpy as np
import pytest
from interval_candidates import METRICS, SEPARATIONS, SHAPES, cell, methods_for, truth_of

from cerviclip.evaluation.intervals import proportion_intervals
from cerviclip.evaluation.measures.gap import difference_interval

LOW_CELL = ("10", 0.8), 2.0  # alike images, sure and rarely wrong: where intervals fail first


def least_allowed(samples, wanted=0.93):
    return wanted - 3 * np.sqrt(wanted * (1 - wanted) / samples)


def ours_alone(metric):
    return {"ours": methods_for(metric)["ours"]}


@pytest.mark.parametrize("metric", ["kappa", "quadratic kappa", "AUPRC", "Brier", "log loss"])
def test_new_measures_cover_with_six_patients_a_class(metric):
    rng = np.random.default_rng(0)
    found = cell(metric, 6, *LOW_CELL, 40, rng, ours_alone(metric))
    assert found["ours"][0] >= least_allowed(40)


def test_the_bootstraps_fail_where_ours_holds():
    found = cell("sensitivity", 6, ("1", 0.0), 3.5, 30, np.random.default_rng(1))
    assert found["ours"][0] >= least_allowed(30)
    for name in ("percentile bootstrap", "BCa", "Bayesian bootstrap", "hierarchical bootstrap"):
        assert found[name][0] < 0.7, name


def test_truth_is_that_of_independent_patients():
    statistic = METRICS["sensitivity"][0]
    one, other = (
        truth_of(statistic, 6, 2, 2.0, icc, np.random.default_rng(2)) for icc in (0.0, 0.8)
    )
    assert one == pytest.approx(other, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("events", [6, 12])
@pytest.mark.parametrize("metric", list(METRICS))
def test_the_hardest_cell_of_every_metric(metric, events):
    """One cell each; the whole grid takes hours: python tests/interval_candidates.py."""
    rng = np.random.default_rng(events)
    wanted = 0.91 if events < 12 and metric in ("balanced accuracy", "macro F1") else 0.93
    found = cell(metric, events, SHAPES[-1], SEPARATIONS[-1], 40, rng, ours_alone(metric))
    assert found["ours"][0] >= least_allowed(40, wanted)


@pytest.mark.slow
def test_the_generalisation_gap_covers_between_two_small_centres():
    """Accuracy at home less that of another centre, from the intervals of both (MOVER)."""
    rng = np.random.default_rng(5)
    for patients, images, icc in ((6, 1, 0.0), (12, 4, 0.4), (12, 10, 0.8), (30, 4, 0.4)):
        found = []
        for share in (0.9, 0.75):
            spread = (1 - icc) / max(icc, 1e-3)
            of_patient = rng.beta(share * spread, (1 - share) * spread, (400, patients))
            hits = rng.binomial(images, share if icc == 0 else of_patient, (400, patients))
            low, high = proportion_intervals(hits, np.full(hits.shape, images))
            found.append((hits.sum(axis=1) / (patients * images), low, high))
        _, low, high = difference_interval(*found)
        covered = ((low <= 0.15) & (0.15 <= high)).mean()
        assert covered >= least_allowed(400), (patients, images, icc)
