"""Thresholds against scikit-learn's ROC curve, ratios against statsmodels and formulas."""

import numpy as np
import pytest
from measures_fixtures import binary_sample, make_sample, relabelled
from sklearn.metrics import class_likelihood_ratios, confusion_matrix, roc_curve
from statsmodels.stats.proportion import confint_proportions_2indep

from cerviclip.evaluation.intervals.binomial import wilson
from cerviclip.evaluation.measures import Home, Settings
from cerviclip.evaluation.measures.sample import FEWEST_EVENTS
from cerviclip.evaluation.measures.thresholds.likelihood import (
    negative_value,
    positive_value,
    ratio_interval,
)
from cerviclip.evaluation.measures.thresholds.operating_points import (
    NO_COST,
    apply,
    candidates,
    choose,
    rates_at,
)


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_are_the_best_points_of_scikit_learns_roc_curve(seed):
    sample = make_sample(seed=seed, skill=1.0)
    found = choose(sample, miss_cost=7)
    fpr, tpr, _ = roc_curve(sample.is_positive, sample.score, drop_intermediate=False)
    share = sample.is_positive.mean()
    best = {
        "sensitivity_95": (1 - fpr)[tpr >= 0.95].max(),
        "specificity_95": tpr[1 - fpr >= 0.95].max(),
        "youden": (tpr - fpr).max(),
        "cost": -(7 * share * (1 - tpr) + (1 - share) * fpr).min(),
    }
    for name, threshold in found.items():
        matrix = confusion_matrix(sample.is_positive, sample.score >= threshold)
        specificity, sensitivity = matrix[0, 0] / matrix[0].sum(), matrix[1, 1] / matrix[1].sum()
        reached = {
            "sensitivity_95": specificity,
            "specificity_95": sensitivity,
            "youden": sensitivity + specificity - 1,
            "cost": -(7 * share * (1 - sensitivity) + (1 - share) * (1 - specificity)),
        }
        assert reached[name] == pytest.approx(best[name]), name
        if name in ("sensitivity_95", "specificity_95"):
            assert {"sensitivity_95": sensitivity, "specificity_95": specificity}[name] >= 0.95
        assert np.abs(sample.score - threshold).min() > 0  # no image of home lies on it


def test_a_threshold_that_home_reached_by_a_hair_is_reached():
    sample = binary_sample(np.linspace(0.02, 0.98, 40), [0] * 20 + [1] * 20)
    found = choose(sample)
    sensitivity, specificity = rates_at(
        sample.score, sample.is_positive, np.array([found["sensitivity_95"]])
    )
    assert (sensitivity[0], specificity[0]) == (0.95, 1.0)  # 19 of 20
    scores = np.r_[np.linspace(0.02, 0.4, 19), 0.98, np.linspace(0.5, 0.9, 20)]
    found = choose(binary_sample(scores, [0] * 20 + [1] * 20))
    assert found["specificity_95"] == pytest.approx(0.45)  # 19 of 20 negative ones lie below


def test_candidates_lie_half_way_between_scores_and_their_ends():
    assert candidates(np.array([0.6, 0.2, 0.6])) == pytest.approx([0.1, 0.4, 0.8])


def test_perfect_and_constant_probabilities_have_thresholds():
    perfect = choose(binary_sample([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]))
    assert 0.2 < perfect["youden"] < 0.8
    constant = binary_sample([1.0] * 6, [0, 0, 0, 1, 1, 1])
    found = choose(constant)
    assert found["sensitivity_95"] <= 1 < found["specificity_95"]


def test_test_labels_do_not_move_thresholds_or_anything_that_home_fitted():
    val, test = make_sample("val", seed=1), make_sample(seed=2)
    shuffled = relabelled(test, np.random.default_rng(0).permutation(test.labels))
    from cerviclip.evaluation.measures import measure

    settings = Settings(miss_cost=5)
    blocks = [measure(val, [s], {}, settings) for s in (test, shuffled)]
    for name in ("sensitivity_95", "specificity_95", "youden", "cost"):
        one, two = (b["operating_points"]["points"][name] for b in blocks)
        assert one["threshold"] == two["threshold"]
        assert one["centers"] != two["centers"]  # the planted fault does reach the rates
    for part in ("temperature", "isotonic"):
        assert blocks[0]["calibration"][part] == blocks[1]["calibration"][part]
    assert blocks[0]["conformal"]["methods"] == blocks[1]["conformal"]["methods"]
    levels = [b["patient_level"]["operating_points"]["points"] for b in blocks]
    assert levels[0]["youden"]["threshold"] == levels[1]["youden"]["threshold"]
    moved = relabelled(val, np.random.default_rng(0).permutation(val.labels))
    assert Home.fit(moved, settings).thresholds != Home.fit(val, settings).thresholds


def test_rates_and_ratios_are_scikit_learns():
    sample, threshold = make_sample(seed=3, skill=1.0), 0.5
    entry = apply(sample, {"x": threshold})["x"]
    said = sample.score >= threshold
    matrix = confusion_matrix(sample.is_positive, said)
    expected = {
        "sensitivity": matrix[1, 1] / matrix[1].sum(),
        "specificity": matrix[0, 0] / matrix[0].sum(),
        "ppv": matrix[1, 1] / matrix[:, 1].sum(),
        "npv": matrix[0, 0] / matrix[:, 0].sum(),
    }
    for name, value in expected.items():
        assert entry[name]["value"] == pytest.approx(100 * value)
        assert entry[name]["low"] < entry[name]["value"] < entry[name]["high"]
    plus, minus = class_likelihood_ratios(sample.is_positive, said)
    assert entry["lr_positive"]["value"] == pytest.approx(plus)
    assert entry["lr_negative"]["value"] == pytest.approx(minus)


@pytest.mark.parametrize("a, n, b, m", [(81, 90, 30, 150), (40, 50, 20, 80), (300, 400, 90, 600)])
def test_the_ratios_interval_agrees_with_statsmodels_score_interval(a, n, b, m):
    top = wilson(np.array([a / n]), np.array([n]))
    bottom = wilson(np.array([b / m]), np.array([m]))
    ours = ratio_interval(a / n, np.ravel(top), b / m, np.ravel(bottom))
    theirs = confint_proportions_2indep(a, n, b, m, compare="ratio", method="score")
    assert ours[0] == pytest.approx(a * m / (n * b))
    assert ours[1:] == pytest.approx(theirs, rel=0.03)


def test_the_lower_limit_is_the_textbook_form_of_mover_r():
    (l1, u1), (l2, u2) = (0.6, 0.9), (0.1, 0.3)
    value, low, high = ratio_interval(0.8, np.array([l1, u1]), 0.17, np.array([l2, u2]))
    ab = 0.8 * 0.17
    textbook = (ab - np.sqrt(ab**2 - l1 * u2 * (1.6 - l1) * (0.34 - u2))) / (u2 * (0.34 - u2))
    assert low == pytest.approx(textbook) and low < value < high


def test_a_ratio_whose_numerator_may_be_nothing_may_be_nothing():
    value, low, high = ratio_interval(0.05, np.array([0.0, 0.2]), 0.5, np.array([0.3, 0.7]))
    assert low == 0.0 < value < high
    value, low, high = ratio_interval(0.5, np.array([0.3, 0.7]), 0.05, np.array([0.0, 0.2]))
    assert 0 < low < value and high == np.inf


def test_an_image_at_the_threshold_is_called_positive():
    sample = binary_sample([0.1, 0.3, 0.5, 0.5, 0.7, 0.9], [0, 0, 0, 1, 1, 1])
    entry = apply(sample, {"x": 0.5})["x"]
    assert entry["sensitivity"]["value"] == 100.0
    assert entry["specificity"]["value"] == pytest.approx(100 * 2 / 3)


def test_a_kind_of_image_that_a_center_lacks_is_the_reason():
    sick = apply(binary_sample([0.2, 0.6, 0.8], [1, 1, 1]), {"x": 0.5})["x"]
    assert sick["specificity"]["reason"] == "no negative image here"
    well = apply(binary_sample([0.2, 0.6, 0.8], [0, 0, 0]), {"x": 0.5})["x"]
    assert well["sensitivity"]["reason"] == "no positive image here"
    none = apply(binary_sample([0.2, 0.3, 0.4, 0.1], [0, 0, 1, 1]), {"x": 0.5, "y": 0.0})
    assert none["x"]["ppv"]["reason"] == "no image is called positive"
    assert none["y"]["npv"]["reason"] == "no image is called negative"


def test_no_false_alarm_gives_an_infinite_ratio_with_a_lower_limit():
    sample = binary_sample(np.r_[np.full(30, 0.1), np.full(20, 0.9)], [0] * 30 + [1] * 20)
    entry = apply(sample, {"youden": 0.5}, prevalences=(0.01,))["youden"]
    ratio = entry["lr_positive"]
    assert (ratio["value"], ratio["high"]) == (None, None) and "infinite" in ratio["reason"]
    assert ratio["low"] > 5
    at = entry["ppv_at"]["0.01"]
    assert at["value"] == 100 and 5 < at["low"] < 50
    assert "reason" not in at


def test_predictive_values_are_those_of_the_published_mammography_problem():
    """Eddy (1982), as Gigerenzer tells it: 1 %, 80 %, 9.6 % false alarms give a PPV of 7.8 %."""
    assert positive_value(np.array(0.8 / 0.096), 0.01) == pytest.approx(0.0776, abs=5e-4)
    npv = 0.99 * 0.904 / (0.99 * 0.904 + 0.01 * 0.2)
    assert negative_value(np.array(0.2 / 0.904), 0.01) == pytest.approx(npv)


def test_predictive_values_at_the_samples_own_share_are_its_own():
    sample = make_sample(seed=4, skill=1.0)
    share = float(sample.is_positive.mean())
    entry = apply(sample, {"x": 0.4}, prevalences=(share,))["x"]
    assert entry["ppv_at"][f"{share:g}"]["value"] == pytest.approx(entry["ppv"]["value"])
    npv = entry["npv_at"][f"{share:g}"]
    assert npv["value"] == pytest.approx(entry["npv"]["value"])
    assert npv["low"] < npv["value"] < npv["high"]


def test_what_carrying_costs_is_measured_against_the_centers_own_best():
    home = choose(make_sample("val", seed=1))
    far = make_sample("Far", seed=2, skill=0.5)
    entry = apply(far, home)["youden"]
    assert entry["own_best"]["threshold"] == choose(far)["youden"]
    rates = entry["sensitivity"]["value"] + entry["specificity"]["value"] - 100
    assert entry["loss"]["youden"] == pytest.approx(entry["own_best"]["youden"] - rates)
    assert entry["loss"]["youden"] >= 0
    at_home = apply(make_sample("val", seed=1), home)["youden"]
    assert at_home["loss"] == {"sensitivity": 0, "specificity": 0, "youden": 0}


def test_few_positive_patients_are_said_and_none_are_a_reason():
    few = binary_sample(np.linspace(0, 1, 40), [0] * (40 - 4) + [1] * 4, center="val")
    assert f"only {4} patients with the event of val" in Home.fit(few, Settings()).note
    enough = binary_sample(np.linspace(0, 1, 40), [0] * 20 + [1] * 20, center="val")
    assert FEWEST_EVENTS <= 20 and Home.fit(enough, Settings()).note == ""
    none = Home.fit(binary_sample([0.1, 0.2], [0, 0], center="val"), Settings())
    assert none.thresholds == {} and none.no_binary == "no positive image in val"
    assert none.isotonic is None and none.temperature is not None
    assert choose(enough).keys() == {"sensitivity_95", "specificity_95", "youden"}
    assert "TEST.MISS_COST" in NO_COST
