"""Kappa, AUPRC, Brier score and log loss: values as scikit-learn's, limits around them."""

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    cohen_kappa_score,
    log_loss,
)

from cerviclip.evaluation.intervals import (
    auprc_interval,
    brier_interval,
    kappa_interval,
    log_loss_interval,
)
from cerviclip.evaluation.intervals.generic import IMAGINED, interval_of
from cerviclip.evaluation.intervals.measures import average_precision, kappa, quadratic_kappa


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 120)
    probs = rng.dirichlet(np.ones(4), 120) + 0.5 * np.eye(4)[labels]
    return labels, probs / probs.sum(axis=1, keepdims=True), np.arange(120) // 4


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(1).integers(0, 4, (3, 120)).astype(float)


@pytest.mark.parametrize(("ours", "kind"), [(kappa, None), (quadratic_kappa, "quadratic")])
def test_kappa_is_scikit_learns(case, weights, ours, kind):
    labels, probs, _ = case
    said = probs.argmax(axis=1)
    theirs = [cohen_kappa_score(labels, said, weights=kind, sample_weight=w) for w in weights]
    np.testing.assert_allclose(ours(labels, probs, weights), theirs)


@pytest.mark.parametrize("digits", [8, 1])
def test_average_precision_is_scikit_learns(case, weights, digits):
    labels, probs, _ = case
    scores = np.round(probs[:, 0], digits)  # rounded: equal scores
    theirs = [average_precision_score(labels == 0, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(average_precision(labels == 0, scores, weights), theirs)
    whole = weights.astype(int)
    np.testing.assert_allclose(average_precision(labels == 0, scores, whole), theirs)


def test_each_value_is_scikit_learns_and_inside_its_limits(case):
    labels, probs, patients = case
    positive = (labels == 0).astype(int)
    found = {
        cohen_kappa_score(labels, probs.argmax(axis=1)): kappa_interval(*case),
        cohen_kappa_score(labels, probs.argmax(axis=1), weights="quadratic"): kappa_interval(
            *case, quadratic=True
        ),
        average_precision_score(positive, probs[:, 0]): auprc_interval(
            positive, probs[:, 0], patients
        ),
        brier_score_loss(labels, probs, scale_by_half=False): brier_interval(*case),
        log_loss(labels, probs): log_loss_interval(*case),
    }
    assert len(found) == 5
    for theirs, ours in found.items():
        assert ours.value == pytest.approx(theirs)
        assert ours.low < ours.value < ours.high


def test_all_right_has_a_lower_limit_below_one(case):
    labels, _, patients = case
    sure = np.eye(4)[labels]
    for found in (
        kappa_interval(labels, sure, patients),
        kappa_interval(*(labels, sure, patients), quadratic=True),
        auprc_interval(labels == 0, sure[:, 0], patients),
    ):
        assert 0.5 < found.low < 0.99 and found.value == found.high == 1


def test_quadratic_kappa_imagines_more_than_half_a_patient(case):
    """With half a one it covers too little."""
    half = interval_of(quadratic_kappa, *case, bounds=(-1.0, 1.0), imagined=IMAGINED)
    whole = kappa_interval(*case, quadratic=True)
    assert whole.value == half.value and whole.low < half.low < half.high < whole.high


def test_one_class_has_no_kappa_and_no_positives_no_auprc():
    labels, patients = np.zeros(6, dtype=int), np.arange(6)
    assert np.isnan(kappa_interval(labels, np.eye(2)[labels], patients).value)
    assert np.isnan(auprc_interval(labels, np.linspace(0, 1, 6), patients).low)
