"""Point values against scikit-learn, the bootstrap against a plain loop over scikit-learn."""

import time

import numpy as np
import pytest
from sklearn import metrics as sk

from cerviclip.evaluation.bootstrap import (
    ECE_BINS,
    intervals,
    patient_draws,
    patient_indices,
    weighted_metrics,
)


def make_case(n=160, classes=5, patients=25, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + 1.2 * np.eye(classes)[labels]
    if ties:
        logits = np.round(logits, 0)  # many equal scores, between patients and within
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    index, count = patient_indices([f"P{i}" for i in rng.integers(0, patients, n)], n)
    return labels, probs, probs.argmax(axis=1), index, count


def plain_ece(labels, probs, predictions):
    confidence = probs[np.arange(len(labels)), predictions]
    total = 0.0
    for b in range(ECE_BINS):
        inside = (confidence > b / ECE_BINS) & (confidence <= (b + 1) / ECE_BINS)
        if inside.any():
            gap = (predictions == labels)[inside].mean() - confidence[inside].mean()
            total += inside.mean() * abs(gap)
    return total


def sklearn_metrics(labels, probs, predictions, positive):
    """The same numbers by scikit-learn, on any set of images."""
    present = np.unique(labels)
    classes = np.arange(probs.shape[1])
    p, r, f, _ = sk.precision_recall_fscore_support(
        labels, predictions, labels=classes, zero_division=np.nan
    )
    f = np.array(
        [sk.f1_score(labels == c, predictions == c, zero_division=np.nan) for c in classes]
    )
    absent = ~np.isin(classes, present)
    p, r, f = (np.where(absent, np.nan, 100 * np.array(x)) for x in (p, r, f))
    out = {
        "accuracy": 100 * sk.accuracy_score(labels, predictions),
        "balanced_accuracy": np.nanmean(r),
        "macro_f1": 100
        * sk.f1_score(labels, predictions, labels=present, average="macro", zero_division=0),
        "ece": plain_ece(labels, probs, predictions),
        "precision": p,
        "recall": r,
        "f1": f,
    }
    aucs = [sk.roc_auc_score(labels == c, probs[:, c]) for c in present if len(present) > 1]
    out["macro_auc"] = np.mean(aucs) if aucs else np.nan
    y, hat = np.isin(labels, positive), np.isin(predictions, positive)
    out["binary/accuracy"] = 100 * sk.accuracy_score(y, hat)
    both = len(np.unique(y)) == 2
    out["binary/auc"] = sk.roc_auc_score(y, probs[:, positive].sum(axis=1)) if both else np.nan
    recall, precision = sk.recall_score, sk.precision_score
    out["binary/sensitivity"] = 100 * recall(y, hat, zero_division=np.nan)
    out["binary/specificity"] = 100 * recall(~y, ~hat, zero_division=np.nan)
    out["binary/ppv"] = 100 * precision(y, hat, zero_division=np.nan)
    out["binary/npv"] = 100 * precision(~y, ~hat, zero_division=np.nan)
    return out


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 5])
def test_point_values_equal_sklearn(seed, classes):
    labels, probs, predictions, patients, count = make_case(seed=seed, classes=classes)
    positive = list(range(classes // 2, classes))
    ours = weighted_metrics(labels, probs, predictions, patients, np.ones((1, count)), positive)
    theirs = sklearn_metrics(labels, probs, predictions, positive)
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name][0], value, rtol=1e-10, err_msg=name)


def test_multiclass_auc_is_sklearns_one_vs_rest():
    labels, probs, predictions, patients, count = make_case(seed=7, ties=False)
    ours = weighted_metrics(labels, probs, predictions, patients, np.ones((1, count)))
    wanted = sk.roc_auc_score(labels, probs, multi_class="ovr", average="macro")
    np.testing.assert_allclose(ours["macro_auc"][0], wanted, rtol=1e-12)


@pytest.mark.parametrize("ties", [True, False])
def test_each_resample_equals_a_loop_over_sklearn(ties):
    # Few patients and a rare class, so that some resamples miss a class or a whole group.
    labels, probs, predictions, patients, count = make_case(n=60, patients=6, seed=3, ties=ties)
    draws = patient_draws(count, 40, seed=11)
    ours = weighted_metrics(labels, probs, predictions, patients, draws, [3, 4])
    for r, weights in enumerate(draws):
        rows = np.repeat(np.arange(len(labels)), weights[patients].astype(int))
        theirs = sklearn_metrics(labels[rows], probs[rows], predictions[rows], [3, 4])
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name][r], value, rtol=1e-9, err_msg=f"{name}, draw {r}")


def test_resamples_that_miss_a_class_leave_it_out():
    labels = np.array([0, 0, 1, 1])
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9]])
    weights = np.array([[2.0, 0.0], [1.0, 1.0]])  # patient 0 holds class 0 only
    out = weighted_metrics(
        labels, probs, probs.argmax(1), np.array([0, 0, 1, 1]), weights, positive=[1]
    )
    assert np.isnan(out["recall"][0, 1])
    assert out["balanced_accuracy"][0] == pytest.approx(50)
    assert np.isnan(out["macro_auc"][0])
    assert np.isnan(out["binary/sensitivity"][0])
    assert out["binary/specificity"][0] == pytest.approx(50)
    assert not np.isnan(out["macro_auc"][1])


def test_draws_are_fixed_and_whole():
    draws = patient_draws(17)
    assert draws.shape == (1000, 17)
    assert (draws.sum(axis=1) == 17).all()
    assert (draws == np.round(draws)).all()
    again = np.random.default_rng(20221017).multinomial(17, np.full(17, 1 / 17), size=1000)
    np.testing.assert_array_equal(draws, again)


def test_images_without_an_id_are_patients_of_their_own():
    index, count = patient_indices(["a", "", "a", ""], 4)
    assert count == 3
    assert index.tolist() == [0, 1, 0, 2]
    assert patient_indices([], 5)[1] == 5
    none, count = patient_indices([], 0)
    assert count == 0 and np.bincount(none).size == 0  # numbers, though there are none


def test_intervals_are_numpy_percentiles_without_the_undefined():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(1000, 3))
    samples[:100, 1] = np.nan
    samples[:, 2] = np.nan
    bounds = intervals(samples)
    np.testing.assert_allclose(bounds[:, 0], np.percentile(samples[:, 0], (2.5, 97.5)))
    np.testing.assert_allclose(bounds[:, 1], np.percentile(samples[100:, 1], (2.5, 97.5)))
    assert np.isnan(bounds[:, 2]).all()


def test_many_images_are_worked_through_in_parts(monkeypatch):
    from cerviclip.evaluation import bootstrap

    labels, probs, predictions, patients, count = make_case(seed=5)
    draws = patient_draws(count, 50)
    whole = weighted_metrics(labels, probs, predictions, patients, draws, [4])
    monkeypatch.setattr(bootstrap, "_CHUNK", 7 * len(labels))
    parts = weighted_metrics(labels, probs, predictions, patients, draws, [4])
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name])


def test_wider_with_fewer_patients():
    """Frames of one patient say less than frames of many: the interval must show it."""
    labels, probs, predictions, _, _ = make_case(n=400, seed=2, ties=False)
    widths = []
    for patients in (400, 8):
        index = np.arange(400) % patients
        order = np.argsort(predictions == labels, kind="stable")  # alike within a patient
        blocks = np.sort(index)
        by_patient = np.empty(400, dtype=int)
        by_patient[order] = blocks
        out = weighted_metrics(labels, probs, predictions, by_patient, patient_draws(patients))
        low, high = intervals(out["accuracy"][:, None])[:, 0]
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


@pytest.mark.slow
def test_three_centers_take_at_most_half_a_second():
    cases = [make_case(n=n, patients=p, ties=False) for n, p in ((400, 40), (200, 20), (200, 20))]
    start = time.perf_counter()
    for labels, probs, predictions, patients, count in cases:
        weighted_metrics(labels, probs, predictions, patients, patient_draws(count), [3, 4])
    assert time.perf_counter() - start < 0.5
