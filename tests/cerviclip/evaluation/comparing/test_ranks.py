"""Ranks over data sets against SciPy and Demsar's published example."""

import numpy as np
import pytest
from scipy.stats import friedmanchisquare, wilcoxon

from cerviclip.evaluation.comparing.ranks import WILCOXON, rank_methods

# Demsar, JMLR 7 (2006), Table 6: AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 data sets. Its text
# gives mean ranks 3.143, 2.000, 2.893, 1.964, chi-square 9.28 and a critical difference of 1.25.
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def test_nemenyi_on_demsars_example():
    found = rank_methods(DEMSAR)
    assert found.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.critical == pytest.approx(1.25, abs=0.005)
    assert (found.p_values <= 1).all() and (np.diag(found.p_values) == 1).all()
    assert friedmanchisquare(*DEMSAR.T).pvalue == found.friedman < 0.05
    at_ten = rank_methods(DEMSAR, level=0.10)
    assert at_ten.critical == pytest.approx(1.12, abs=0.005)  # the same page
    # At 0.10 he finds C4.5 worse than C4.5+m and C4.5+m+cf; C4.5+cf is told apart from none.
    apart = {(i, j) for i in range(4) for j in range(i + 1, 4) if at_ten.apart(i, j)}
    assert apart == {(0, 1), (0, 3)}
    assert at_ten.cliques() == [(3, 1, 2), (2, 0)]


@pytest.mark.slow
def test_wilcoxon_holm_by_scipy():
    found = rank_methods(DEMSAR, post_hoc=WILCOXON)
    gaps = DEMSAR[:, 0] - DEMSAR[:, 3]
    p = wilcoxon(gaps[gaps != 0]).pvalue
    assert found.critical is None and p <= found.p_values[0, 3] <= 6 * p
    assert (found.p_values == found.p_values.T).all()


def test_methods_that_are_alike_are_one_clique():
    found = rank_methods(np.ones((5, 4)))
    assert found.friedman == 1 and found.cliques() == [(0, 1, 2, 3)]
    assert rank_methods(DEMSAR, larger_is_better=False).ranks == pytest.approx(
        5 - rank_methods(DEMSAR).ranks
    )


def test_too_few_data_sets_are_refused():
    with pytest.raises(ValueError, match="2 data sets and 4 methods"):
        rank_methods(DEMSAR[:2])
    assert len(rank_methods(DEMSAR[:3]).ranks) == 4
    assert len(rank_methods(DEMSAR[:, :3]).ranks) == 3
    with pytest.raises(ValueError, match="14 data sets and 2 methods"):
        rank_methods(DEMSAR[:, :2])
