"""Every metric of a centre has its limits, around its value, and in its range."""

import numpy as np
import pytest

from cerviclip.evaluation.bootstrap import calibration_gaps, patient_draws, weighted_metrics
from cerviclip.evaluation.bounds import METHODS, center_bounds, uncertainty
from cerviclip.evaluation.intervals import auc_intervals, ece_interval, proportion_intervals


def make(images=200, patients=30, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    index = rng.permutation(
        np.r_[np.arange(patients), rng.integers(0, patients, images - patients)]
    )
    labels = rng.integers(0, classes, images)
    probs = rng.dirichlet(np.ones(classes), images) + 0.5 * np.eye(classes)[labels]
    probs /= probs.sum(axis=1, keepdims=True)
    return labels, probs, probs.argmax(axis=1), index


def group_of(classes, *positive):
    return np.isin(np.arange(classes), positive)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("images", "patients"), [(12, 4), (40, 40), (300, 12)])
def test_limits_hold_the_value_of_each_metric(images, patients, seed):
    labels, probs, predictions, index = make(images, patients, seed=seed)
    bounds = center_bounds(labels, probs, predictions, index, group_of(5, 3, 4))
    ones = np.ones((1, patients))
    values = weighted_metrics(labels, probs, predictions, index, ones, [3, 4])
    assert set(bounds) == set(values)
    for name, value in values.items():
        low, high = bounds[name]
        defined = ~np.isnan(value[0])
        assert not np.isnan(np.asarray(low)[defined]).any(), name
        top = 1 if name in ("ece", "macro_auc", "binary/auc") else 100
        inside = (low <= value[0] + 1e-9) & (value[0] <= high + 1e-9) & (low < high)
        assert inside[defined].all(), name
        assert (np.asarray(low)[defined] >= 0).all() and (np.asarray(high)[defined] <= top).all()


def test_sensitivity_and_auc_are_those_of_the_single_functions():
    labels, probs, predictions, index = make()
    group = group_of(5, 3, 4)
    bounds = center_bounds(labels, probs, predictions, index, group)
    positive = group[labels]
    hits = np.bincount(index[positive & group[predictions]], minlength=30)
    alone = proportion_intervals(hits, np.bincount(index[positive], minlength=30))
    np.testing.assert_allclose(bounds["binary/sensitivity"], 100 * np.ravel(alone))
    score = probs[:, group].sum(axis=1)[None]
    np.testing.assert_allclose(
        bounds["binary/auc"], np.ravel(auc_intervals(score, positive, index)[0])
    )


def test_balanced_accuracy_reaches_as_the_recalls_of_unrelated_classes():
    """One image a patient: no class moves with another, so squares add up."""
    labels, probs, predictions, index = make(images=90, patients=90, classes=3)
    bounds = center_bounds(labels, probs, predictions, index, group_of(3))
    recalls = np.array([100 * (predictions[labels == c] == c).mean() for c in range(3)])
    below = np.sqrt(((recalls - bounds["recall"][0]) ** 2).sum()) / 3
    assert bounds["balanced_accuracy"][0] == pytest.approx(recalls.mean() - below)


def test_the_calibration_errors_limits_know_those_of_the_accuracy():
    labels, probs, predictions, index = make(images=8, patients=8, classes=2)
    bounds = center_bounds(labels, probs, predictions, index, group_of(2))
    right = labels == predictions
    (low,), (high,) = proportion_intervals(np.bincount(index, right), np.bincount(index))
    reach = (right.mean() - low, high - right.mean())
    gaps, images = calibration_gaps(labels, probs, predictions, index)
    wanted = ece_interval(gaps, images, patient_draws(8), reach)
    np.testing.assert_allclose(bounds["ece"], wanted)
    assert wanted.high < 1


def test_all_right_and_one_class():
    labels, probs, _, index = make()
    probs = np.eye(5)[labels]
    bounds = center_bounds(labels, probs, labels, index, group_of(5, 0))
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "binary/ppv"):
        assert bounds[name][0] < 98 and bounds[name][1] == 100, name
    assert bounds["macro_auc"][0] < 0.99 and bounds["macro_auc"][1] == 1
    same = np.zeros_like(labels)
    bounds = center_bounds(same, probs, labels, index, group_of(5, 0))
    assert np.isnan(bounds["macro_auc"]).all() and "binary/auc" not in bounds


def test_every_named_method_is_of_a_metric_there_is():
    labels, probs, predictions, index = make()
    bounds = center_bounds(labels, probs, predictions, index, group_of(5, 3))
    assert set(METHODS) <= set(bounds)
    assert uncertainty("patient")["level"] == 0.95
