"""What patients with many images may claim, and what they may not."""

import numpy as np
import pytest

from cerviclip.evaluation.intervals import proportions
from cerviclip.evaluation.intervals.binomial import mid_p_or_wilson
from cerviclip.evaluation.intervals.proportions import (
    ICC_GRID,
    effective_trials,
    icc_moments,
    icc_weights,
    proportion_intervals,
    several_proportion_intervals,
)


def counts(hits, trials):
    return np.array([hits], float), np.array([trials], float)


def test_one_image_a_patient_is_the_binomial_interval():
    hits = np.array([[1, 1, 1, 0, 1, 1, 1, 1, 0, 1]], float)
    ours = proportion_intervals(hits, np.ones((1, 10)))
    binomial = mid_p_or_wilson(np.array([0.8]), np.array([10.0]))
    np.testing.assert_allclose(ours, binomial, atol=1e-12)


def test_all_right_in_twelve_patients_is_not_all_right_in_240():
    hits, trials = counts([20] * 12, [20] * 12)
    (low,), (high,) = proportion_intervals(hits, trials)
    assert high == 1 and low < 0.92
    assert effective_trials(hits, trials)[0] < 60


def test_patients_all_or_nothing_count_once():
    hits, trials = counts([20] * 30 + [0] * 10, [20] * 40)
    assert 35 < effective_trials(hits, trials)[0] < 45


def test_alike_patients_count_by_image():
    hits = np.random.default_rng(0).binomial(10, 0.8, (1, 90)).astype(float)
    assert effective_trials(hits, np.full((1, 90), 10.0))[0] > 600


def test_patients_who_are_more_alike_than_chance_count_by_image_at_most():
    hits, trials = counts([2] * 18 + [1, 3], [4] * 20)
    assert effective_trials(hits, trials)[0] == trials.sum()


def test_a_patient_with_one_image_is_a_patient_too():
    """Few patients tell little of how alike images are; 22 of them are not two."""
    trials = np.array([[1.0] * 20 + [2.0] * 2])
    assert 21.5 < effective_trials(trials, trials)[0] < 24


@pytest.mark.parametrize("icc", [0.1, 0.5, 0.9])
def test_icc_is_found_with_many_patients(icc):
    rng = np.random.default_rng(1)
    strength = (1 - icc) / icc
    rates = rng.beta(0.7 * strength, 0.3 * strength, (1, 3000))
    hits = rng.binomial(8, rates).astype(float)
    mean, spread = icc_moments(icc_weights(hits, np.full((1, 3000), 8.0)))
    width = np.interp(icc, ICC_GRID[1:], np.diff(ICC_GRID))
    assert mean[0] == pytest.approx(icc, abs=width / 2 + 3 * spread[0])


@pytest.mark.parametrize(("of_wrong", "of_right"), [(10.0, 1.0), (1.0, 10.0)])
def test_the_spread_of_patients_counts_where_errors_go_with_the_number_of_images(
    of_wrong, of_right
):
    """The share moves with every wrong patient of ten images, and hardly with one of one."""
    rng = np.random.default_rng(3)
    wrong = rng.random(600) < 0.1
    trials = np.where(wrong, of_wrong, of_right)
    hits = np.where(wrong, 0.0, trials)
    share = hits.sum() / trials.sum()
    draws = rng.multinomial(600, np.full(600, 1 / 600), 4000)
    variance = ((draws @ hits) / (draws @ trials)).var()
    found = effective_trials(hits[None], trials[None])[0]
    observed = share * (1 - share) / variance
    assert 0.3 * observed < found < 1.1 * observed


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_a_lower_level_is_a_narrower_interval_of_its_own(level):
    hits, trials = np.array([[1, 1, 1, 0, 1, 1, 1, 1, 0, 1]], float), np.ones((1, 10))
    ours = proportion_intervals(hits, trials, level)
    np.testing.assert_allclose(
        ours, mid_p_or_wilson(np.array([0.8]), np.array([10.0]), level), atol=1e-12
    )


def test_images_of_patients_without_any_do_not_count():
    one = proportion_intervals(*counts([3, 4, 0], [4, 4, 0]))
    two = proportion_intervals(*counts([3, 4], [4, 4]))
    np.testing.assert_array_equal(one, two)


def test_right_and_wrong_are_mirrors():
    hits, trials = counts([3, 8, 5, 1], [9, 8, 6, 4])
    low, high = proportion_intervals(hits, trials)
    other_low, other_high = proportion_intervals(trials - hits, trials)
    np.testing.assert_allclose([low, high], [1 - other_high, 1 - other_low], atol=1e-9)


def test_rows_do_not_touch_each_other(monkeypatch):
    from cerviclip.evaluation.intervals import proportions

    rng = np.random.default_rng(2)
    trials = rng.integers(0, 6, (7, 15)).astype(float)
    hits = rng.binomial(trials.astype(int), 0.8).astype(float)
    whole = proportion_intervals(hits, trials)
    monkeypatch.setattr(proportions, "_CHUNK", 1)
    np.testing.assert_allclose(proportion_intervals(hits, trials), whole, rtol=1e-12)
    single = proportion_intervals(hits[3:4], trials[3:4])
    np.testing.assert_allclose([whole.low[3], whole.high[3]], np.ravel(single), rtol=1e-9)


def test_edges_have_a_width_and_nothing_has_none():
    hits, trials = counts([0], [1])
    (low,), (high,) = proportion_intervals(hits, trials)
    assert low == 0 and 0.7 < high < 1
    assert np.isnan(proportion_intervals(*counts([0, 0], [0, 0]))).all()
    (low,), (high,) = proportion_intervals(*counts([5000], [5000]))
    assert low < 0.25 and high == 1  # one patient, however many images


def test_calls_solved_together_are_as_each_alone_to_the_last_digit():
    rng = np.random.default_rng(4)
    parts = []
    for patients, rows in ((26, 7), (26, 1), (9, 3), (26, 7), (40, 2)):
        trials = rng.integers(0, 12, (rows, patients))
        parts.append((rng.binomial(trials, 0.8), trials))
    proportions._memory.clear()
    together = several_proportion_intervals(parts)
    for (hits, trials), found in zip(parts, together, strict=True):
        proportions._memory.clear()
        proportions._nodes_memory.clear()
        np.testing.assert_array_equal(proportion_intervals(hits, trials), found)


def test_what_is_remembered_cannot_be_changed_by_one_who_got_it():
    found = proportion_intervals(np.array([[3, 4]]), np.array([[4, 4]]))
    with pytest.raises(ValueError, match="read-only"):
        found.low[0] = 0.0
