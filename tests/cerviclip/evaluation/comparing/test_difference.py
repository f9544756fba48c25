"""Differences of two methods: what the runs add, which test is made, and means over centres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, ttest_ind, ttest_rel

from cerviclip.evaluation.comparing.difference import (
    DELONG,
    INVERTED,
    MCNEMAR,
    MCNEMAR_RUNS,
    Difference,
    difference_of,
    mean_of,
)
from cerviclip.evaluation.comparing.quantities import quantity
from cerviclip.evaluation.comparing.significance import delong, mcnemar

OURS, OTHER = np.array([0.81, 0.86, 0.9, 0.84]), np.array([0.8, 0.81, 0.83, 0.85])


def of_runs(ours, other, paired, **more):
    """A difference that patients add nothing to."""
    n = len(ours) + len(other)
    value = float(ours.mean() - other.mean())
    return Difference(value, 0.0, 0.0, ours, other, np.zeros((n, n)), paired, **more)


def test_runs_alone_give_students_interval_and_welchs_where_they_are_no_pairs():
    paired = of_runs(OURS, OTHER, True)
    theirs = ttest_rel(OURS, OTHER)
    assert paired.limits() == pytest.approx(tuple(theirs.confidence_interval()))
    assert paired.p() == pytest.approx(theirs.pvalue)
    apart = of_runs(OURS, OTHER[:3], False)
    theirs = ttest_ind(OURS, OTHER[:3], equal_var=False)
    assert apart.limits() == pytest.approx(tuple(theirs.confidence_interval()))
    assert apart.p() == pytest.approx(theirs.pvalue)
    one = of_runs(OURS, OTHER[:1], False)  # the single run is as it is
    assert one.runs == pytest.approx((OURS.var(ddof=1) / 4, 3))


def test_noise_that_patients_cause_is_no_spread_of_runs():
    noise = np.zeros((8, 8))
    noise[:4, :4] = np.eye(4) * 0.0004
    apart = replace(of_runs(OURS, OTHER, False), noise=noise)
    assert apart.runs.variance == pytest.approx((OURS.var(ddof=1) - 0.0004 + OTHER.var(ddof=1)) / 4)
    loud = replace(of_runs(OURS, OTHER, True), noise=np.eye(8))
    assert loud.runs == (0.0, 3) and loud.runs_add_nothing
    assert not of_runs(OURS, OTHER, True).runs_add_nothing
    assert not of_runs(OURS[:1], OTHER[:1], True).runs_add_nothing


def test_patients_and_runs_reach_together_and_no_further_than_can_be():
    both = replace(of_runs(OURS, OTHER, True), below=0.03, above=0.04)
    alone = of_runs(OURS, OTHER, True).limits()
    reach = alone[1] - both.value
    low, high = both.limits()
    assert both.value - low == pytest.approx(np.hypot(0.03, reach))
    assert high - both.value == pytest.approx(np.hypot(0.04, reach))
    assert both.limits(widest=0.05) == (-0.05 if low < -0.05 else low, 0.05)
    fixed = replace(both, fixed=True)
    assert fixed.limits() == pytest.approx((both.value - 0.03, both.value + 0.04))
    assert not fixed.runs_add_nothing


def test_p_is_that_of_the_side_that_reaches_towards_zero():
    reach = norm.ppf(0.975)
    for value, below, above in ((0.1, 0.1, 9.0), (-0.1, 9.0, 0.1)):
        one = np.array([value])
        found = Difference(value, below, above, one, one * 0, np.zeros((2, 2)), True)
        assert found.p() == pytest.approx(0.05)
        assert replace(found, error=0.1 / norm.ppf(0.995)).p() == pytest.approx(0.01)
        assert replace(found, exact=0.3).p() == 0.3
        assert replace(found, identical=True).p() == 1.0
        assert replace(found, identical=True).limits() == (0.0, 0.0)
        assert replace(found, error=0.1 / reach).p() == pytest.approx(0.05)


def study(runs, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, 2, 30), 3)
    patients = np.repeat(np.arange(30), 3)
    made = []
    for skill in (1.5, 0.7):
        z = rng.normal(size=(runs, 90)) + skill * (2 * labels - 1)
        made.append([np.stack([1 - norm.cdf(row), norm.cdf(row)], axis=1) for row in z])
    return labels, *made, patients


def test_shares_in_percent_are_those_in_one_times_a_hundred():
    q = quantity("accuracy")
    labels, ours, other, patients = study(3)
    found, plain = (
        difference_of(one, labels, ours, other, patients, paired=True, seed=1)
        for one in (q, replace(q, scale=1.0))
    )
    for name in ("value", "below", "above", "ours", "other"):
        assert getattr(found, name) == pytest.approx(100 * getattr(plain, name))
    assert found.noise == pytest.approx(1e4 * plain.noise)
    assert found.error == pytest.approx(100 * plain.error) and found.test == MCNEMAR_RUNS
    accuracies = [100 * (s.argmax(axis=1) == labels).mean() for s in ours]
    assert found.ours == pytest.approx(accuracies)
    assert found.value == pytest.approx(np.mean(accuracies) - found.other.mean())


@pytest.mark.parametrize("name", ["accuracy", "macro_auc"])
def test_who_is_called_first_turns_the_sign_alone(name):
    labels, ours, other, patients = study(3)
    q = quantity(name)
    of = {"paired": True, "seed": 1}
    found = difference_of(q, labels, ours, other, patients, **of)
    turned = difference_of(q, labels, other, ours, patients, **of)
    assert turned.value == pytest.approx(-found.value)
    assert (turned.below, turned.above) == pytest.approx((found.above, found.below), rel=1e-6)


def test_one_run_each_has_mcnemars_exact_p_of_patients():
    labels, ours, other, patients = study(1)
    found = difference_of(quantity("accuracy"), labels, ours, other, patients, paired=True, seed=1)
    right = [(s[0].argmax(axis=1) == labels).astype(float) for s in (ours, other)]
    assert found.test == MCNEMAR
    assert found.p() == found.exact == mcnemar(right[0] - right[1], patients).exact
    name = "binary.sensitivity"
    found = difference_of(quantity(name), labels, ours, other, patients, paired=True, seed=1)
    sick = labels > 0
    assert found.exact == mcnemar((right[0] - right[1])[sick], patients[sick]).exact


def test_an_area_has_delongs_test():
    labels, ours, other, patients = study(2)
    ours, other = ([s[:, 1] for s in runs] for runs in (ours, other))
    found = difference_of(
        quantity("binary.auc"), labels, ours, other, patients, paired=True, seed=1
    )
    theirs = delong(np.stack([*ours, *other]), labels > 0, patients, [0.5, 0.5, -0.5, -0.5])
    assert found.test == DELONG and found.error == theirs.error > 0
    assert found.value == pytest.approx(theirs.value)


def test_two_patients_have_a_value_and_no_interval():
    labels, ours, other, patients = study(1)
    few = patients < 2
    of = labels[few], [s[few] for s in ours], [s[few] for s in other], patients[few]
    found = difference_of(quantity("accuracy"), *of, paired=True, seed=1)
    assert np.isfinite(found.value) and np.isnan(found.limits()).all()
    assert found.test == INVERTED and np.isnan(found.p())


def test_the_mean_of_centres_is_of_different_patients_and_the_same_runs():
    one = replace(of_runs(OURS, OTHER, True), below=0.03, above=0.04, error=0.1, test=DELONG)
    two = replace(
        of_runs(OURS + 0.02, OTHER, True), below=0.04, above=0.03, noise=np.eye(8), undefined=3
    )
    found = mean_of([one, two])
    assert found.value == pytest.approx((one.value + two.value) / 2)
    assert (found.below, found.above) == pytest.approx((0.025, 0.025))
    assert found.ours == pytest.approx(OURS + 0.01) and found.other == pytest.approx(OTHER)
    assert found.noise == pytest.approx(np.eye(8) / 4)
    assert (found.test, found.error, found.exact, found.undefined) == (INVERTED, None, None, 3)
    assert not found.identical
    assert not mean_of([replace(one, identical=True), two]).identical
    assert mean_of([replace(d, identical=True) for d in (one, two)]).identical
