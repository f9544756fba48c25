"""Wilson against SciPy, the mid-P limits against the sums that define them."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from cerviclip.evaluation.intervals import binomial
from cerviclip.evaluation.intervals.binomial import mid_p, mid_p_or_wilson, wilson

CASES = [(0, 7), (1, 7), (10, 12), (12, 12), (45, 90), (89, 90)]


@pytest.mark.parametrize(("hits", "trials"), CASES)
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_scipys(hits, trials, level):
    theirs = binomtest(hits, trials).proportion_ci(level, method="wilson")
    ours = wilson(np.array([hits / trials]), np.array([trials]), level)
    np.testing.assert_allclose([ours.low[0], ours.high[0]], [theirs.low, theirs.high], atol=1e-12)


def test_the_usual_level_is_95_percent():
    share, trials = np.array([0.4]), np.array([30.0])
    for function in (wilson, mid_p, mid_p_or_wilson):
        np.testing.assert_array_equal(function(share, trials), function(share, trials, 0.95))


@pytest.mark.parametrize(("hits", "trials"), CASES)
def test_mid_p_limits_leave_a_fortieth_on_each_side(hits, trials):
    low, high = (x[0] for x in mid_p(np.array([hits / trials]), np.array([float(trials)])))

    def as_many_or_more(p):
        return binom.sf(hits, trials, p) + binom.pmf(hits, trials, p) / 2

    assert low == 0 if hits == 0 else as_many_or_more(low) == pytest.approx(0.025)
    assert high == 1 if hits == trials else as_many_or_more(high) == pytest.approx(0.975)


def least_coverage(function, trials):
    """Exact, no simulation: all outcomes with their probabilities, at many shares and just beside
    each limit, where coverage jumps."""
    hits = np.arange(trials + 1)
    low, high = function(hits / trials, np.full(trials + 1, float(trials)))
    beside = (np.concatenate([low, high]) + np.array([[-1e-9], [1e-9]])).ravel()
    shares = np.concatenate([np.linspace(0.7, 0.98, 281), beside])
    shares = shares[(shares >= 0.7) & (shares <= 0.98)]
    held = (low[:, None] <= shares) & (shares <= high[:, None])
    return (binom.pmf(hits[:, None], trials, shares) * held).sum(axis=0).min()


def test_covers_every_share_with_every_number_of_trials_as_its_docstring_says():
    found = {trials: least_coverage(mid_p_or_wilson, trials) for trials in range(6, 201)}
    assert min(found[trials] for trials in range(12, 201)) == pytest.approx(0.9318, abs=5e-4)
    assert min(found[trials] for trials in range(6, 10)) >= 0.934
    assert [found[10], found[11]] == pytest.approx([0.9268, 0.9225], abs=5e-4)
    said = mid_p_or_wilson.__doc__
    assert all(number in said for number in ("0.931", "0.934", "0.926", "0.922"))


def test_each_alone_covers_less():
    assert min(least_coverage(wilson, trials) for trials in range(6, 201)) < 0.84
    assert min(least_coverage(mid_p, trials) for trials in range(6, 201)) < 0.92


def test_fractional_trials_lie_between_whole_ones():
    low, _ = mid_p_or_wilson(np.full(3, 0.9), np.array([10.0, 12.5, 20.0]))
    assert low[0] < low[1] < low[2]


@pytest.mark.parametrize("trials", [0.15, 0.5, 1, 4, 1000])
def test_of_no_hits_or_hits_alone_the_limit_has_a_closed_form(trials):
    """Where Newton's method does not find it, too."""
    shares, of = np.array([0.0, 1.0]), np.full(2, trials)
    low, high = mid_p(shares, of, level=0.8)
    reach = 1 - 0.2 ** (1 / trials)  # (1 - p) ** trials / 2 is a tenth
    np.testing.assert_allclose([low, high], [[0, 1 - reach], [reach, 1]], atol=1e-9)


def test_newton_ends_where_halving_does():
    rng = np.random.default_rng(0)
    trials = np.concatenate([rng.uniform(1, 400, 300), [1.0, 2.0, 1e5, 1e5]])
    share = np.concatenate([rng.uniform(0, 1, 300), [1.0, 0.0, 1e-5, 0.999]])
    hits, misses = share * trials, (1 - share) * trials
    for goal in (0.025, 0.5, 0.975):
        goals = np.full(len(hits), goal)
        found, sure = binomial._by_newton(hits, misses, goals)
        assert sure.mean() > 0.95
        np.testing.assert_array_equal(found[sure], binomial._by_halving(hits, misses, goals)[sure])
