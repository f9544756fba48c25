"""The interval of average precision: its influence by hand, its coverage, its ends."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cerviclip.evaluation.intervals import auprc_interval
from cerviclip.evaluation.intervals.auprc import _misplaced, auprc_limits, precision_influence
from cerviclip.evaluation.intervals.binomial import mid_p_or_wilson


def study(rng, events, others, sizes, separation, icc):
    """Scores of patients of one class each, with an effect of the patient."""
    images = sizes(rng, events + others)
    patients = np.repeat(np.arange(len(images)), images)
    positive = patients < events
    effect = rng.normal(size=len(images))[patients]
    noise = np.sqrt(icc) * effect + np.sqrt(1 - icc) * rng.normal(size=len(patients))
    return noise + separation * positive, positive, patients


def unequal(rng, count):
    return np.clip(np.rint(np.exp(rng.normal(0.7, 1.3, count))), 1, 100).astype(int)


def test_influence_is_the_slope_of_scikit_learns_value_in_a_patients_weight():
    rng = np.random.default_rng(1)
    scores, positive, patients = study(rng, 8, 12, unequal, 1.0, 0.4)
    scores = np.round(scores, 1)  # equal scores
    value, influence = precision_influence(scores, positive, patients)
    assert value == pytest.approx(average_precision_score(positive, scores))
    step = 1e-6
    for patient in range(20):
        weights = np.where(patients == patient, 1 + step, 1.0)
        moved = average_precision_score(positive, scores, sample_weight=weights)
        assert influence[patient] == pytest.approx((moved - value) / step, abs=1e-5)


def test_patients_of_equal_scores_are_told_apart_by_nothing():
    positive, patients = np.array([True, False, True, False]), np.arange(4)
    assert _misplaced(np.array([0.5, 0.5, 0.9, 0.1]), positive, patients) == 1
    assert _misplaced(np.array([0.6, 0.5, 0.9, 0.1]), positive, patients) == 0
    assert _misplaced(np.array([0.1, 0.5, 0.4, 0.9]), positive, np.zeros(4, int)) == 1


@pytest.mark.parametrize("events, others, icc", [(30, 120, 0.8), (60, 60, 0.4)])
def test_unequal_numbers_of_images_do_not_narrow_it(events, others, icc):
    """With all patients as trials 0.83 and 0.84 of these hold the truth."""
    rng = np.random.default_rng(2)
    truth = average_precision_score(
        *study(rng, 20_000, 20_000 * others // events, lambda r, n: np.ones(n, int), 0.7, 0.0)[
            1::-1
        ]
    )
    held = []
    for _ in range(300):
        _, low, high = auprc_limits(*study(rng, events, others, unequal, 0.7, icc))
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.92


def test_more_images_of_unlike_patients_narrow_it():
    rng = np.random.default_rng(3)

    def ten(rng, count):
        return np.full(count, 10)

    one, many = (
        [np.ptp(auprc_limits(*study(rng, 60, 60, sizes, 1.5, 0.0))[1:]) for _ in range(40)]
        for sizes in (lambda r, n: np.ones(n, int), ten)
    )
    assert np.mean(many) < 0.7 * np.mean(one)


def test_ends_are_inside_and_apart():
    patients = np.arange(12)
    positive = patients < 6
    for scores in (positive.astype(float), np.zeros(12), 1.0 - positive):
        value, low, high = auprc_limits(scores, positive, patients)
        assert 0 <= low <= value <= high <= 1 and low < high
    assert np.isnan(auprc_interval(np.ones(4), np.arange(4.0), np.arange(4)).low)
    nothing = auprc_interval(np.zeros(4), np.arange(4.0), np.arange(4))
    assert np.isnan(nothing[:3]).all() and nothing.undefined == 0


def test_the_images_of_one_positive_patient_are_one_trial():
    positive = np.array([True, True, False, False, False])
    patients, scores = np.array([0, 0, 1, 2, 3]), np.array([0.9, 0.8, 0.1, 0.2, 0.3])
    (low,), (high,) = mid_p_or_wilson(np.ones(1), np.ones(1))
    assert auprc_limits(scores, positive, patients) == (1, low, high)
