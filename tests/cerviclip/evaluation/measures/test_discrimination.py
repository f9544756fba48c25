"""Against scikit-learn's scores and statsmodels' standard error of kappa."""

import numpy as np
import pytest
from measures_fixtures import CLASSES, binary_sample, make_sample
from scipy.stats import t
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    log_loss,
    roc_auc_score,
)
from statsmodels.stats.inter_rater import cohens_kappa

from cerviclip.evaluation.bootstrap import MIN_PATIENTS
from cerviclip.evaluation.measures import Sample, Settings, discrimination
from cerviclip.evaluation.measures.discrimination import kappa, kappa_influence, quadratic_kappa
from cerviclip.evaluation.measures.sample import FEW_PATIENTS

ORDERED = Settings(order=CLASSES)


@pytest.fixture(scope="module")
def sample():
    return make_sample(skill=1.5)


@pytest.fixture(scope="module")
def entry(sample):
    return discrimination(sample, ORDERED)


def test_values_are_scikit_learns(sample, entry):
    labels, probs = sample.labels, sample.probs
    for c, name in enumerate(CLASSES):
        found, truth = entry["per_class"][name], labels == c
        assert found["auc"]["value"] == pytest.approx(roc_auc_score(truth, probs[:, c]))
        precision = average_precision_score(truth, probs[:, c])
        assert found["auprc"]["value"] == pytest.approx(precision)
        partial = roc_auc_score(truth, probs[:, c], max_fpr=0.1)
        assert found["partial_auc"]["value"] == pytest.approx(partial)
    macro = roc_auc_score(labels, probs, multi_class="ovr")
    assert entry["macro"]["auc"]["value"] == pytest.approx(macro)
    binary = roc_auc_score(sample.is_positive, sample.score)
    assert entry["binary"]["auc"]["value"] == pytest.approx(binary)
    assert entry["kappa"]["value"] == pytest.approx(cohen_kappa_score(labels, sample.predicted))
    weighted = cohen_kappa_score(labels, sample.predicted, weights="quadratic")
    assert entry["quadratic_kappa"]["value"] == pytest.approx(weighted)
    assert entry["log_loss"]["value"] == pytest.approx(log_loss(labels, probs))
    brier = brier_score_loss(labels, probs, labels=range(4), scale_by_half=False)
    assert entry["brier"]["value"] == pytest.approx(brier)


def test_every_interval_holds_its_value_and_has_a_width(entry):
    cells = [entry[key] for key in ("kappa", "quadratic_kappa", "brier", "log_loss")]
    cells += [row[key] for row in entry["per_class"].values() for key in ("auc", "auprc")]
    for cell in cells:
        assert cell["low"] < cell["value"] < cell["high"]


@pytest.mark.parametrize("weighted", [False, True])
def test_kappas_error_is_statsmodels_where_each_patient_has_one_image(weighted):
    sample = make_sample(patients=200, images=1, skill=1.0)
    ranks = np.arange(4)
    weights = (ranks[:, None] - ranks) ** 2 / 9 if weighted else 1.0 - np.eye(4)
    value, influence, _ = kappa_influence(sample.labels, sample.predicted, weights)
    table = confusion_matrix(sample.labels, sample.predicted)
    theirs = cohens_kappa(table, wt="quadratic" if weighted else None)
    assert value == pytest.approx(theirs.kappa)
    assert np.sqrt((influence**2).sum()) / len(sample) == pytest.approx(theirs.std_kappa)


def test_few_patients_have_students_interval_of_kappa():
    sample = make_sample(patients=12, images=1, skill=1.0)
    theirs = cohens_kappa(confusion_matrix(sample.labels, sample.predicted))
    reach = t.ppf(0.975, 11) * theirs.std_kappa * np.sqrt(12 / 11)
    assert kappa(sample)["high"] == pytest.approx(theirs.kappa + reach) and reach < 0.6


def test_kappa_of_no_mistake_has_a_width_and_of_one_class_a_reason():
    sample = binary_sample([0.1] * 5 + [0.9] * 5, [0] * 5 + [1] * 5)
    found = kappa(sample)
    assert found["value"] == found["high"] == 1 and found["low"] < 0.8
    alone = kappa(binary_sample([0.1] * 5, [0] * 5))
    assert alone["value"] is None and "one and the same class" in alone["reason"]


def test_kappas_interval_covers_with_clustered_patients():
    truth, hits = [], 0
    big = make_sample(patients=20000, images=2, seed=99, skill=1.5)
    truth = cohen_kappa_score(big.labels, big.predicted)
    for seed in range(150):
        found = kappa(make_sample(patients=30, images=5, seed=seed, skill=1.5))
        hits += found["low"] <= truth <= found["high"]
    assert hits / 150 >= 0.91


def test_quadratic_kappa_of_equal_probabilities_takes_the_predicted_class_of_the_others():
    probs = np.array([[0.4, 0.4, 0.2]] * 6 + [[0.1, 0.1, 0.8]] * 6)
    labels = np.array([0, 1, 2] * 4)
    sample = Sample.of("x", labels, probs, [f"P{i}" for i in range(12)], ("b", "a", "c"), ("c",))
    ranks = np.array([1, 0, 2])
    wanted = cohen_kappa_score(ranks[labels], ranks[sample.predicted], weights="quadratic")
    assert quadratic_kappa(sample, ("a", "b", "c"))["value"] == pytest.approx(wanted)


def test_kappa_of_few_patients_or_no_images_says_so():
    few = make_sample(patients=MIN_PATIENTS - 1, images=8, skill=0.5)
    for found in (kappa(few), quadratic_kappa(few, CLASSES)):
        assert found["value"] is not None and found["low"] is None
        assert found["reason"] == FEW_PATIENTS
    empty = make_sample(patients=0)
    assert kappa(empty)["reason"] == quadratic_kappa(empty, CLASSES)["reason"] == "no images"


def test_without_order_or_images_there_is_a_reason(sample):
    assert "no order" in quadratic_kappa(sample, ())["reason"]
    assert "no order" in quadratic_kappa(sample, CLASSES[:-1])["reason"]
    part = quadratic_kappa(sample, ("before", *CLASSES))  # an order may rank more classes
    assert part["value"] == quadratic_kappa(sample, CLASSES)["value"]
    empty = make_sample(patients=0)
    assert discrimination(empty, ORDERED) == {"reason": "no images"}


def test_a_missing_class_is_null_and_the_mean_is_of_the_others():
    sample = binary_sample([0.2, 0.7, 0.4], [0, 0, 0])
    found = discrimination(sample, Settings())
    assert found["per_class"]["yes"]["auc"]["reason"] == "no image of it here"
    assert found["per_class"]["no"]["auc"]["reason"] == "only one class has images here"
    assert found["binary"]["auc"]["value"] is None
    assert found["macro"]["auc"]["reason"] == "only one class has images here"
