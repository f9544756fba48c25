"""Trees, patients and the gap between centres."""

import numpy as np
import pytest
from measures_fixtures import CLASSES, binary_sample, make_sample
from statsmodels.stats.proportion import confint_proportions_2indep

from cerviclip.evaluation.intervals import proportion_intervals
from cerviclip.evaluation.intervals.binomial import wilson
from cerviclip.evaluation.measures import Sample, by_patient
from cerviclip.evaluation.measures.gap import difference_interval, generalisation_gap
from cerviclip.evaluation.measures.patients import mixed_patients, why_not_by_patient
from cerviclip.evaluation.measures.trees import NO_TREE, tree_distances, tree_scores
from cerviclip.evaluation.report import score
from cerviclip.plugins import ensure_loaded

# -- trees ----------------------------------------------------------------------------------------


def test_distances_in_the_tree_of_hicervix():
    levels = ensure_loaded("dataset", "HiCervix").levels
    names = ("AGC", "AGC-NOS", "AGC-ECC-NOS", "ADC-ECC", "HSIL", "LSIL", "FUNGI")
    found = tree_distances(levels, names)
    at = {name: i for i, name in enumerate(names)}
    by_hand = {
        ("HSIL", "LSIL"): 2, ("AGC", "AGC-NOS"): 1, ("AGC", "AGC-ECC-NOS"): 2, ("AGC", "HSIL"): 3,
        ("AGC-ECC-NOS", "ADC-ECC"): 4, ("AGC-ECC-NOS", "FUNGI"): 5, ("HSIL", "FUNGI"): 4,
    }  # fmt: skip
    for (a, b), edges in by_hand.items():
        assert found[at[a], at[b]] == found[at[b], at[a]] == edges, (a, b)
    assert (np.diag(found) == 0).all()


def test_tree_scores_by_hand():
    levels = {"a": ("A", "a"), "b": ("A", "b"), "c": ("C", "")}
    labels, said = [0, 0, 1, 2, 2, 1], [0, 1, 2, 2, 0, 1]
    probs = 0.2 + 0.4 * np.eye(3)[said]
    sample = Sample.of("test", labels, probs, list("uvwxyz"), ("a", "b", "c"))
    found = tree_scores(sample, levels)
    assert found["levels"]["level_1"]["value"] == pytest.approx(100 * 4 / 6)
    assert found["levels"]["level_2"]["value"] == pytest.approx(100 * 2 / 4)  # c has none there
    assert found["distance"]["value"] == pytest.approx((0 + 2 + 3 + 0 + 3 + 0) / 6)
    assert found["distance"]["low"] < 8 / 6 < found["distance"]["high"]
    assert tree_scores(sample, {"a": ("A", "a")})["reason"] == NO_TREE


@pytest.mark.parametrize("level", ["level_1", "level_2"])
def test_accuracy_on_a_level_has_the_interval_of_a_proportion(level):
    """Of the lowest level, where each class is a node of its own, that of the accuracy."""
    sample = make_sample(skill=1.0)
    levels = {name: (("sick", "well")[name == "normal"], name) for name in CLASSES}
    cell = tree_scores(sample, levels)["levels"][level]
    nodes = np.array([levels[name][level == "level_2"] for name in CLASSES])
    right = nodes[sample.labels] == nodes[sample.predicted]
    hits = np.bincount(sample.patients, right)[None]
    low, high = proportion_intervals(hits, np.bincount(sample.patients)[None], 0.95)
    assert (cell["low"], cell["high"]) == pytest.approx((100 * low[0], 100 * high[0]))


def test_what_a_mistake_would_cost_is_told_by_the_second_most_probable_class():
    """Nobody errs here; one model's second choice is a sister class, the other's a far one."""
    levels = {"a": ("A", "a"), "b": ("A", "b"), "c": ("C", "c"), "d": ("C", "d")}
    found = {}
    for name, probs in (("near", [0.6, 0.2, 0.15, 0.05]), ("far", [0.6, 0.15, 0.2, 0.05])):
        ids = [f"P{i}" for i in range(20)]
        sample = Sample.of("test", [0] * 20, np.array([probs] * 20), ids, tuple("abcd"))
        found[name] = tree_scores(sample, levels)["distance"]
    assert found["near"]["value"] == found["far"]["value"] == 0
    assert 0 < found["near"]["high"] < found["far"]["high"]


# -- patients -------------------------------------------------------------------------------------


def of_two_patients(labels, probs):
    return Sample.of("test", labels, np.array(probs), list("AABB"), ("no", "yes"), ("yes",))


def test_the_three_rules_by_hand():
    sample = of_two_patients([1, 1, 0, 0], [[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.55, 0.45]])
    found = {rule: by_patient(sample, rule).probs[:, 1] for rule in ("mean", "max", "share")}
    assert found["mean"] == pytest.approx([0.4, 0.425])
    assert found["max"] == pytest.approx([0.7, 0.45])
    assert found["share"] == pytest.approx([0.5, 0])
    with pytest.raises(ValueError, match="median"):
        by_patient(sample, "median")


def test_max_takes_the_rows_of_patients_in_any_order():
    sample = make_sample(patients=30, images=3)
    order = np.random.default_rng(0).permutation(len(sample))
    ids = [f"{n}" for n in sample.patients[order]]
    of = (sample.labels[order], sample.probs[order], ids, CLASSES, sample.positive)
    mixed = by_patient(Sample.of("test", *of), "max")
    expected = {max(sample.score[sample.patients == p]) for p in range(30)}
    assert set(mixed.score) == expected


def test_a_patients_class_is_the_worst_or_the_most_frequent_diseased_one():
    probs = np.full((5, 4), 0.25)
    sample = Sample.of("t", [0, 0, 1, 2, 3], probs, list("AAAAA"), CLASSES, ("high", "cancer"))
    assert by_patient(sample, "mean").labels.tolist() == [
        2
    ]  # the first of two that are as frequent
    assert by_patient(sample, "mean", CLASSES).labels.tolist() == [3]
    mild = Sample.of("t", [0, 0, 1, 0, 0], probs, list("AABBB"), CLASSES)
    assert by_patient(mild, "mean", CLASSES).labels.tolist() == [0, 1]
    assert by_patient(mild, "mean", CLASSES[::-1]).labels.tolist() == [0, 0]
    plain = Sample.of("t", [0, 0, 1, 2, 3], probs, list("AAAAA"), CLASSES)
    assert by_patient(plain, "mean").labels.tolist() == [0]
    assert mixed_patients(sample) == 1


@pytest.mark.parametrize("rule", ["mean", "max", "share"])
def test_no_images_are_no_patients(rule):
    assert len(by_patient(make_sample(patients=0), rule)) == 0


def test_when_there_is_nothing_by_patient_it_is_said():
    one, many = make_sample(images=1), make_sample()
    assert "one image" in why_not_by_patient([one], "mean")
    assert why_not_by_patient([one, many], "mean") == ""
    assert "no patient ids" in why_not_by_patient([make_sample(known=False)], "mean")
    assert "DATASET.POSITIVE" in why_not_by_patient([make_sample(positive=())], "max")
    assert why_not_by_patient([make_sample(positive=())], "mean") == ""


# -- gap ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a, n, b, m", [(45, 50, 30, 60), (10, 10, 8, 20), (56, 70, 48, 80)])
def test_the_difference_of_wilson_intervals_is_newcombes(a, n, b, m):
    """The last case is Newcombe's (1998) worked example: 0.2, method 10 from 0.0524 to 0.3339."""
    one, two = ((x / k, *np.ravel(wilson(np.array([x / k]), np.array([k]))))
                for x, k in ((a, n), (b, m)))  # fmt: skip
    gap, low, high = difference_interval(one, two)
    theirs = confint_proportions_2indep(a, n, b, m, method="newcomb")
    assert gap == pytest.approx(a / n - b / m) and (low, high) == pytest.approx(theirs)
    if a == 56:
        assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_gap_is_inside_minus_outside_of_every_metric():
    def entry(sample):
        ids = [str(n) for n in sample.patients]
        of = (sample.labels.tolist(), sample.probs, ids, sample.classnames, sample.positive)
        return score(*of, "few_patients")

    centers = {"test": entry(make_sample(skill=3)), "Far": entry(make_sample(seed=1, skill=0.5))}
    found = generalisation_gap(centers)
    assert list(found) == ["Far"]
    for name in ("accuracy", "macro_auc"):
        cell = found["Far"][name]
        assert cell["value"] == centers["test"][name]["value"] - centers["Far"][name]["value"]
        assert 0 < cell["low"] < cell["value"] < cell["high"]
    centers["Far"] = entry(binary_sample([0.2, 0.3, 0.4], [0, 0, 0]))
    assert found["Far"]["binary.auc"]["value"] is not None
    cell = generalisation_gap(centers)["Far"]["binary.sensitivity"]
    assert cell["value"] is None and cell["reason"] == "outside: no positive image here"
    cell = generalisation_gap(centers)["Far"]["accuracy"]
    assert cell["value"] is not None and cell["low"] is not None
    centers["Far"] = entry(make_sample(patients=2, images=30, skill=0.5))
    cell = generalisation_gap(centers)["Far"]["accuracy"]
    own = centers["test"]["accuracy"]["value"] - centers["Far"]["accuracy"]["value"]
    assert cell["value"] == own and cell["low"] is None
    assert cell["reason"] == f"outside: {centers['Far']['accuracy']['reason']}"
    assert generalisation_gap({"val": centers["test"]}) == {}
