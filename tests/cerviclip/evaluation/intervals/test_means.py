"""Means over classes and over images."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from cerviclip.evaluation.intervals.binomial import Interval
from cerviclip.evaluation.intervals.means import (
    brier_losses,
    class_mean_interval,
    log_losses,
    loss_interval,
)


def parts(values, reach):
    values, reach = np.array(values, float), np.array(reach, float)
    return values, Interval(values - reach, values + reach)


def test_independent_classes_add_squares():
    """MOVER of two independent means is the root of the summed squares (Zou and Donner 2008)."""
    influence = np.zeros((400, 2))
    influence[:200, 0], influence[200:, 1] = 1, 1
    values, limits = parts([0.6, 0.7], [0.03, 0.04])
    low, high = class_mean_interval(values, limits, influence)
    assert low == pytest.approx(0.65 - 0.025)
    assert high == pytest.approx(0.65 + 0.025, abs=2e-4)


def test_classes_that_move_together_add_up():
    influence = np.ones((400, 2))
    values, limits = parts([0.6, 0.7], [0.03, 0.04])
    assert class_mean_interval(values, limits, influence).low == pytest.approx(0.65 - 0.035)


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 100.0])
def test_the_unit_in_which_patients_move_a_class_does_not_matter(scale):
    """One of hundreds of patients moves a share by thousandths."""
    influence = np.random.default_rng(0).normal(size=(60, 3)) + [[1.0, -1.0, 0.5]]
    values, limits = parts([0.6, 0.7, 0.5], [0.03, 0.04, 0.05])
    assert np.allclose(
        class_mean_interval(values, limits, scale * influence),
        class_mean_interval(values, limits, influence),
        rtol=1e-12,
    )


def test_opposite_classes_narrow_only_as_far_as_patients_show_it():
    values, limits = parts([0.6, 0.6], [0.04, 0.04])
    lows = [
        class_mean_interval(values, limits, np.tile([1.0, -1.0], (n, 1))).low for n in (6, 60, 6000)
    ]
    assert lows[0] < lows[1] < lows[2] < 0.6


def test_class_mean_leaves_out_what_is_undefined():
    influence = np.zeros((90, 3))
    influence[:45, 0], influence[45:, 1] = 1, 1
    values, limits = parts([0.6, 0.7, np.nan], [0.03, 0.04, np.nan])
    low, high = class_mean_interval(values, limits, influence)
    assert 0.6 < low < 0.65 < high < 0.7
    assert np.isnan(class_mean_interval(values[2:], Interval(*np.full((2, 1), np.nan)), influence))[
        0
    ].all()


def make(patients=30, images=4, seed=0):
    rng = np.random.default_rng(seed)
    index = np.repeat(np.arange(patients), images)
    labels = rng.integers(0, 4, len(index))
    probs = rng.dirichlet(np.ones(4), len(index)) + 0.5 * np.eye(4)[labels]
    return labels, probs / probs.sum(axis=1, keepdims=True), index


def test_losses_are_sklearns():
    labels, probs, _ = make()
    assert log_losses(labels, probs)[0].mean() == pytest.approx(log_loss(labels, probs))
    wanted = brier_score_loss(labels, probs, scale_by_half=False)
    assert brier_losses(labels, probs)[0].mean() == pytest.approx(wanted)


@pytest.mark.parametrize(("losses_of", "top"), [(brier_losses, 2.0), (log_losses, np.inf)])
def test_loss_interval_holds_the_mean_within_the_range(losses_of, top):
    labels, probs, patients = make()
    right = probs.argmax(axis=1) == labels
    losses, if_wrong = losses_of(labels, probs)
    low, high = loss_interval(losses, if_wrong, right, patients, top)
    assert 0 < low < losses.mean() < high <= top


def test_errors_that_six_patients_do_not_show_are_allowed_for():
    labels, probs = np.zeros(6, int), np.tile([0.98, 0.01, 0.01], (6, 1))
    losses, if_wrong = brier_losses(labels, probs)
    low, high = loss_interval(losses, if_wrong, np.ones(6, bool), np.arange(6), 2.0)
    assert low < high and high > 0.3


def test_errors_that_were_seen_say_what_an_error_costs():
    """Each costs 1 here, so the mean cannot be beyond."""
    right = np.arange(12) >= 3
    low, high = loss_interval(np.where(right, 0.1, 1.0), np.ones(12), right, np.arange(12))
    assert 0.1 < low < 0.325 < high < 1


@pytest.mark.parametrize("top", [2.0, np.inf])
def test_losses_that_are_all_equal_have_an_interval_too(top):
    """All wrong and certain, and probabilities that never differ."""
    patients = np.repeat(np.arange(5), 2)
    for loss, right in ((2.0, np.zeros(10, bool)), (np.log(3) / 2, np.ones(10, bool))):
        losses = np.full(10, loss)
        low, high = loss_interval(losses, losses, right, patients, top)
        assert 0 <= low < high <= top and low <= loss <= high and high - low > 0.05
