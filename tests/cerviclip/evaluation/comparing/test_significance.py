"""Tests of differences against statsmodels, SciPy, scikit-learn and closed forms."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from cerviclip.evaluation.comparing.significance import (
    delong,
    holm,
    mcnemar,
    mcnemar_error,
    p_of_reach,
)


@pytest.mark.parametrize("gains, losses, same", [(9, 2, 20), (30, 12, 5), (4, 0, 3), (7, 7, 1)])
def test_mcnemar_with_one_image_a_patient_is_that_of_statsmodels(gains, losses, same):
    images = np.array([1] * gains + [-1] * losses + [0] * same)
    found = mcnemar(images, np.arange(len(images)))
    table = [[same, gains], [losses, 0]]
    asymptotic = statsmodels_mcnemar(table, exact=False, correction=False)
    assert found.statistic == pytest.approx(asymptotic.statistic)
    assert found.p == pytest.approx(asymptotic.pvalue)
    assert found.exact == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)
    assert found.exact == pytest.approx(binomtest(gains, gains + losses).pvalue)


def test_exact_mcnemar_of_patients_is_the_share_of_all_exchanges():
    """Every way to exchange the two methods within patients, one by one."""
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(9), 4)
    gains = rng.choice([-1, 0, 1], len(patients), p=[0.15, 0.4, 0.45])
    net = np.bincount(patients, gains)
    sums = [abs(np.dot(signs, net)) for signs in product((-1, 1), repeat=9)]
    assert mcnemar(gains, patients).exact == pytest.approx(
        np.mean(np.array(sums) >= abs(net.sum()) - 1e-9)
    )


def test_mcnemar_without_a_discordant_patient_finds_nothing():
    assert mcnemar(np.zeros(5), np.arange(5)) == (0.0, 1.0, 1.0)
    assert mcnemar(np.array([1, -1, 1, -1]), np.array([0, 0, 1, 1])).exact == 1.0


def test_images_of_a_patient_are_one_patient_to_mcnemar():
    one = mcnemar(np.ones(5), np.arange(5))
    many = mcnemar(np.ones(50), np.repeat(np.arange(5), 10))
    assert many == pytest.approx(one) and one.exact == pytest.approx(2 / 2**5)
    assert mcnemar_error(np.ones(50), np.repeat(np.arange(5), 10)) == pytest.approx(5**-0.5)


def textbook_delong(scores, positive):
    """Covariance of two AUCs from DeLong's structural components, pair by pair."""
    x, y = scores[:, positive], scores[:, ~positive]
    psi = (x[:, :, None] > y[:, None]) + 0.5 * (x[:, :, None] == y[:, None])
    one, two = np.cov(psi.mean(axis=2)), np.cov(psi.mean(axis=1))
    return psi.mean(axis=(1, 2)), one / positive.sum() + two / (~positive).sum()


def test_the_error_of_several_runs_is_summed_by_patient():
    gains, patients = np.array([1.0, 0.5, -0.5, 0.0, 0.5]), np.array([0, 0, 1, 1, 2])
    by_hand = np.sqrt(1.5**2 + 0.5**2 + 0.5**2) / 5
    assert mcnemar_error(gains, patients) == pytest.approx(by_hand)


def test_delong_is_that_of_the_structural_components_and_of_sklearn():
    rng = np.random.default_rng(5)
    positive = rng.random(40) < 0.4
    scores = np.round(rng.normal(positive, 1.0, (2, 40)), 1)  # with ties
    auc, covariance = textbook_delong(scores, positive)
    found = delong(scores, positive, np.arange(40), [1, -1])
    assert auc == pytest.approx([roc_auc_score(positive, s) for s in scores])
    assert found.value == pytest.approx(auc[0] - auc[1])
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert found.error == pytest.approx(error)
    assert found.p == pytest.approx(2 * norm.sf(abs(auc[0] - auc[1]) / error))
    # A mean over two runs is a contrast of more rows.
    four = delong(np.concatenate([scores, scores]), positive, np.arange(40), [0.5, -0.5] * 2)
    assert four == pytest.approx(found)


def test_delong_by_hand():
    """Two positives 3 and 1 against two negatives 2 and 0: components by pencil.

    Method 1: placements of positives 1 and 1/2, of negatives 1/2 and 1: AUC 3/4, variance
    (1/8 + 1/8) / 2 = 1/8. Method 2 is perfect: AUC 1, variance 0.
    """
    scores = np.array([[3.0, 1, 2, 0], [3, 2, 1, 0]])
    positive = np.array([True, True, False, False])
    found = delong(scores, positive, np.arange(4), [1, -1])
    assert (found.value, found.error) == pytest.approx((-0.25, np.sqrt(1 / 8)))


def test_repeated_images_are_no_more_evidence_to_delong():
    rng = np.random.default_rng(8)
    positive = np.arange(30) < 12
    scores = rng.normal(positive, 1.0, (2, 30))
    once = delong(scores, positive, np.arange(30), [1, -1])
    often = delong(np.repeat(scores, 5, 1), np.repeat(positive, 5), np.repeat(np.arange(30), 5),
                   [1, -1])  # fmt: skip
    assert often == pytest.approx(once)


def test_equal_scores_have_no_difference_to_delong():
    scores = np.tile(np.random.default_rng(1).random(20), (2, 1))
    assert delong(scores, np.arange(20) < 8, np.arange(20), [1, -1]) == (0.0, 0.0, 1.0)


def test_holm_is_that_of_statsmodels_and_skips_what_is_missing():
    p = np.random.default_rng(2).random(25) ** 4
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    with_gap = holm([*p, np.nan])
    assert np.isnan(with_gap[-1]) and with_gap[:-1] == pytest.approx(holm(p))
    assert len(holm([])) == 0


@pytest.mark.parametrize("run_variance, df", [(0.0, np.inf), (0.4, 2), (3.0, 4.5)])
def test_p_is_005_where_the_95_percent_interval_reaches_0(run_variance, df):
    from scipy.stats import t

    reach = np.hypot(norm.ppf(0.975) * 0.7, t.ppf(0.975, df) * np.sqrt(run_variance))
    assert p_of_reach(reach, 0.7, run_variance, df) == pytest.approx(0.05, rel=1e-6)
    assert p_of_reach(-1.2 * reach, 0.7, run_variance, df) < 0.05
    assert p_of_reach(0.0, 0.7, run_variance, df) == 1.0
    assert p_of_reach(1e-20, 0.7, run_variance, df) == pytest.approx(1.0)


def test_p_of_runs_alone_is_students_paired_test():
    """SciPy's ttest_rel, where patients add nothing."""
    from scipy.stats import ttest_rel

    one, two = np.array([71.0, 68.5, 73.2, 70.1]), np.array([66.0, 67.2, 69.0, 68.8])
    gaps = one - two
    p = p_of_reach(gaps.mean(), 0.0, gaps.var(ddof=1) / 4, 3)
    assert p == pytest.approx(ttest_rel(one, two).pvalue, rel=1e-6)
