"""DeLong's variance on a published example, Obuchowski's by what it must equal."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cerviclip.evaluation.intervals.auc import (
    auc_intervals,
    obuchowski_variance,
    placements,
    several_auc_intervals,
)

# Hanley and McNeil 1982, table I: 109 CT images rated 1 to 5 by one reader.
NORMAL, ABNORMAL = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)


def hanley():
    scores = np.repeat(np.tile(np.arange(1.0, 6.0), 2), NORMAL + ABNORMAL)
    return scores[None], np.repeat([False, True], [sum(NORMAL), sum(ABNORMAL)])


def make(images=300, patients=40, seed=0, rows=3):
    rng = np.random.default_rng(seed)
    index = rng.permutation(
        np.r_[np.arange(patients), rng.integers(0, patients, images - patients)]
    )
    positive = rng.random(images) < 0.3
    scores = np.round(rng.normal(size=(rows, images)) + positive, 1)  # ties
    return scores, positive, index


def test_delong_on_hanleys_images():
    """Stata's manual (roctab) prints 0.8932 and DeLong's standard error 0.0307 for them."""
    scores, positive = hanley()
    patients = np.arange(109)
    placed = placements(scores, positive, patients)
    error = np.sqrt(obuchowski_variance(placed, positive, patients))
    assert placed.auc[0] == pytest.approx(0.8932, abs=5e-5)
    assert error[0] == pytest.approx(0.0307, abs=5e-5)
    (low,), (high,) = auc_intervals(scores, positive, patients)[0]
    # DeLong's error on the logit scale gives 0.818 to 0.940.
    assert low == pytest.approx(0.818, abs=0.01) and high == pytest.approx(0.940, abs=0.01)


def test_auc_is_sklearns():
    scores, positive, patients = make()
    wanted = [roc_auc_score(positive, row) for row in scores]
    np.testing.assert_allclose(placements(scores, positive, patients).auc, wanted, rtol=1e-12)


def test_variance_is_obuchowskis_sum_by_hand():
    scores, positive, patients = make(rows=1)
    x, y = scores[0, positive], scores[0, ~positive]
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    auc, m, n = wins.mean(), len(x), len(y)
    of_x = np.bincount(patients[positive], wins.mean(axis=1) - auc, 40)
    of_y = np.bincount(patients[~positive], wins.mean(axis=0) - auc, 40)
    i10, i01 = len(set(patients[positive])), len(set(patients[~positive]))
    s10 = i10 / ((i10 - 1) * m) * (of_x**2).sum()
    s01 = i01 / ((i01 - 1) * n) * (of_y**2).sum()
    s11 = 40 / 39 * (of_x * of_y).sum()
    placed = placements(scores, positive, patients)
    wanted = s10 / m + s01 / n + 2 * s11 / (m * n)
    assert obuchowski_variance(placed, positive, patients)[0] == pytest.approx(wanted)


def test_copies_of_an_image_say_nothing_new():
    scores, positive = hanley()
    patients = np.arange(109)
    once = obuchowski_variance(placements(scores, positive, patients), positive, patients)
    scores, positive, patients = (np.repeat(x, 7, axis=-1) for x in (scores, positive, patients))
    many = obuchowski_variance(placements(scores, positive, patients), positive, patients)
    assert many[0] == pytest.approx(once[0])


def test_copies_hardly_narrow_the_interval():
    scores, positive = hanley()
    patients = np.arange(109)
    once = auc_intervals(scores, positive, patients)[0]
    scores, positive, patients = (np.repeat(x, 7, axis=-1) for x in (scores, positive, patients))
    many = auc_intervals(scores, positive, patients)[0]
    assert many.high[0] - many.low[0] > 0.9 * (once.high[0] - once.low[0])


def test_perfect_and_opposite_and_constant_scores_have_a_width():
    positive, patients = np.arange(12) < 6, np.arange(12)
    scores = np.stack([positive, ~positive, np.zeros(12)]).astype(float)
    low, high = auc_intervals(scores, positive, patients)[0]
    assert high[0] == 1 and 0.5 < low[0] < 0.9
    assert low[1] == 0 and high[1] == pytest.approx(1 - low[0], abs=1e-6)
    assert low[2] < 0.3 < 0.7 < high[2]


def test_rows_do_not_touch_each_other():
    scores, positive, patients = make()
    whole = auc_intervals(scores, positive, patients)[0]
    for r, row in enumerate(scores):
        (low,), (high,) = auc_intervals(row[None], positive, patients)[0]
        assert (low, high) == pytest.approx((whole.low[r], whole.high[r]))


def test_one_positive_patient_has_an_interval():
    scores, positive, patients = np.arange(9.0)[None], np.arange(9) > 6, np.arange(9)
    patients = np.minimum(patients, 7)
    (low,), (high,) = auc_intervals(scores, positive, patients)[0]
    assert low < 0.5 and high == 1


def test_classes_solved_together_are_as_each_alone_to_the_last_digit():
    rng = np.random.default_rng(3)
    labels, patients = rng.integers(0, 4, 90), rng.integers(0, 15, 90)
    scores = np.round(rng.random((90, 4)) + 0.5 * np.eye(4)[labels], 2)
    tasks = [(scores[:, c], labels == c) for c in range(4)]
    for (low, high, placed), (score, positive) in zip(
        several_auc_intervals(tasks, patients), tasks, strict=True
    ):
        alone, own = auc_intervals(score[None], positive, patients)
        assert (low, high) == (alone.low[0], alone.high[0])
        np.testing.assert_array_equal(placed.influence, own.influence)
        again = several_auc_intervals([(score, positive)], patients)[0]
        assert again[:2] == (low, high)
        assert placed.auc[0] == pytest.approx(roc_auc_score(positive, score))
