"""The interval of the calibration error, whose chance part it must take off."""

import numpy as np
import pytest
from scipy.stats import t

from cerviclip.evaluation.bootstrap import calibration_gaps, patient_draws
from cerviclip.evaluation.intervals.calibration import ece_interval
from cerviclip.evaluation.intervals.proportions import proportion_intervals


def interval(confidence, right, patients):
    probs = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.where(right, 0, 1)
    gaps, images = calibration_gaps(labels, probs, np.zeros_like(labels), patients)
    (low,), (high,) = proportion_intervals(np.bincount(patients, right), images)
    reach = (right.mean() - low, high - right.mean())
    draws = patient_draws(len(images))
    return *ece_interval(gaps, images, draws, reach), np.abs(gaps.sum(axis=0)).sum() / len(labels)


def test_calibrated_predictions_may_have_no_error_at_all():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 60)
    low, high, observed = interval(confidence, rng.random(60) < confidence, np.arange(60))
    assert low == 0 < observed <= high < 0.3


def test_a_gross_error_is_held_from_both_sides():
    rng = np.random.default_rng(1)
    confidence = np.full(900, 0.95)
    low, high, observed = interval(confidence, rng.random(900) < 0.6, np.arange(900))
    assert 0.3 < low < observed < high < 0.4


def test_six_patients_all_right_do_not_prove_confidence_right():
    low, high, observed = interval(np.full(6, 0.99), np.ones(6, bool), np.arange(6))
    assert low < observed < 0.02 and high > 0.3


def test_patients_who_are_all_alike_have_the_error_within_its_limits():
    """Each has one right and one wrong image, so no resample differs from the others."""
    right = np.tile([True, False], 20)
    for confidence in (0.75, 0.9):  # the sums of the first are exact, those of the other rounded
        of = np.full(40, confidence), right, np.repeat(np.arange(20), 2)
        low, high, observed = interval(*of)
        assert low == pytest.approx(observed) and observed <= high < observed + 0.25
        assert observed == pytest.approx(confidence - 0.5)


@pytest.mark.parametrize("patients", [5, 8])
def test_an_error_far_from_none_has_students_interval_of_the_gap(patients):
    gaps = np.zeros((patients, 15))
    gaps[:, 14] = 0.3 + np.linspace(-0.1, 0.1, patients)
    far = t.ppf(0.975, patients - 1) * gaps[:, 14].std(ddof=1) / np.sqrt(patients)
    draws = patient_draws(patients)
    low, high = ece_interval(gaps, np.ones(patients), draws, (0.01, 0.01))
    assert 0.3 - low == pytest.approx(far, rel=0.03)
    assert high - 0.3 == pytest.approx(far, rel=0.06)


def test_few_patients_with_many_images_are_few():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.5, 1, 400)
    right = np.repeat(rng.random(8) < 0.75, 50)
    clustered = interval(confidence, right, np.repeat(np.arange(8), 50))
    single = interval(confidence, right, np.arange(400))
    assert clustered[1] - clustered[0] > 1.5 * (single[1] - single[0])
