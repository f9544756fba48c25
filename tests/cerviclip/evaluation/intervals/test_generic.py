"""Any statistic has limits that hold it, in its range and never equal."""

import numpy as np
import pytest
from scipy.stats import binomtest

from cerviclip.evaluation.intervals import interval_of, one_by_one
from cerviclip.evaluation.intervals.generic import turned


def accuracy(labels, scores, weights):
    return weights @ (scores.argmax(axis=1) == labels) / weights.sum(axis=1)


def make(right, wrong, classes=3):
    labels = np.arange(right + wrong) % classes
    said = np.where(np.arange(right + wrong) < right, labels, (labels + 1) % classes)
    return labels, 0.4 * np.eye(classes)[said] + 0.2, np.arange(right + wrong)


@pytest.mark.parametrize(("right", "wrong"), [(60, 40), (95, 5), (100, 0)])
def test_accuracy_with_a_whole_imagined_patient_has_clopper_and_pearsons_interval(right, wrong):
    found = interval_of(accuracy, *make(right, wrong), imagined=1.0, resamples=20000)
    exact = binomtest(right, right + wrong).proportion_ci()
    assert found.value == right / 100 and found.undefined == 0
    assert found[1:3] == pytest.approx(exact, abs=0.008)


@pytest.mark.parametrize(("right", "wrong"), [(6, 0), (0, 6), (2, 0)])
def test_no_errors_or_nothing_right_still_has_a_width(right, wrong):
    found = interval_of(accuracy, *make(right, wrong))
    assert 0 <= found.low < found.high <= 1
    assert found.low <= found.value <= found.high
    assert found.high - found.low > 0.3


def test_images_of_a_patient_are_not_patients():
    labels, probs, patients = make(50, 10)
    alone = interval_of(accuracy, labels, probs, patients)
    together = interval_of(accuracy, labels, probs, patients // 10)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_function_of_one_row_and_unbounded_range():
    def loss(labels, probs, weights):
        return np.average(-np.log(probs[np.arange(len(labels)), labels]), weights=weights)

    found = interval_of(one_by_one(loss), *make(20, 10), bounds=(0.0, np.inf), resamples=100)
    assert 0 < found.low < found.value < found.high < -np.log(0.2)


def test_a_range_without_a_lower_end_mirrors_one_without_an_upper():
    def loss(labels, probs, weights):
        return np.average(-np.log(probs[np.arange(len(labels)), labels]), weights=weights)

    def gain(labels, probs, weights):
        return -loss(labels, probs, weights)

    of = make(20, 10)
    up = interval_of(one_by_one(loss), *of, bounds=(0.0, np.inf), resamples=100)
    down = interval_of(one_by_one(gain), *of, bounds=(-np.inf, 0.0), resamples=100)
    assert (down.low, down.high) == pytest.approx((-up.high, -up.low), rel=1e-3)


def test_undefined_resamples_are_counted_and_left_out():
    def sometimes(labels, scores, weights):
        return np.where(weights[:, 0] > weights[:, 1], np.nan, accuracy(labels, scores, weights))

    found = interval_of(sometimes, *make(20, 10))
    assert 100 < found.undefined < 300 and found.low < found.value < found.high
    assert np.isnan(interval_of(one_by_one(lambda *_: np.nan), *make(20, 10))[:3]).all()


def test_same_input_same_limits():
    assert interval_of(accuracy, *make(9, 3)) == interval_of(accuracy, *make(9, 3))


def test_imagined_images_are_wrong_and_right():
    labels, probs, _ = make(7, 5)
    wrong, right = turned(labels, probs, np.random.default_rng(0))
    assert (wrong.argmax(axis=1) != labels).all() and (right.argmax(axis=1) == labels).all()
    np.testing.assert_allclose(wrong.sum(axis=1), 1)
    scores, positive = np.array([0.9, 0.8, 0.1]), np.array([1, 1, 0])
    wrong, right = turned(positive, scores, np.random.default_rng(0))
    assert wrong[:2].tolist() == [0.1, 0.1] and wrong[2] in (0.8, 0.9)
    assert right.tolist() == [0.9, 0.9, 0.1]
