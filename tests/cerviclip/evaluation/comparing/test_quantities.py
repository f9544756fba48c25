"""Every metric that is compared: scikit-learn's value, and weights that count images as often."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from cerviclip.evaluation.comparing.quantities import (
    CALL,
    CLASS,
    COMPARABLE,
    POINT,
    PROBS,
    SCORE,
    check_comparable,
    quantity,
)
from cerviclip.evaluation.intervals.paired import OF_SCORES, OF_VERDICTS
from cerviclip.evaluation.measures.discrimination import MAX_FPR
from dassl.errors import UserError

CLASSES = ("b", "a", "c")
ORDER = ("a", "b", "c")
PER_CLASS = [f"per_class.c.{last}" for last in ("precision", "recall", "f1", "auc", "auprc")]
N = 120


def inputs(needs, one_class=False):
    """(N,) labels and scores of the form that a quantity takes."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, N)
    logits = rng.normal(size=(N, 3))
    logits[np.arange(N), labels] += 0.8
    probs = softmax(logits, axis=1)
    if needs in (CLASS, PROBS) and not one_class:
        return labels, probs
    truth, score = (labels == 2).astype(int), probs[:, 2]
    if needs in (SCORE, PROBS):
        return truth, score
    said = score >= 0.4
    return truth, np.stack([~said, said], axis=1).astype(float)


def ece(right, confidence):
    bins = np.minimum((confidence * 15).astype(int), 14)
    return sum(abs((right - confidence)[bins == k].sum()) for k in range(15)) / len(right)


def of_classes(name, labels, probs):
    said, ranks = probs.argmax(axis=1), np.array([ORDER.index(c) for c in CLASSES])
    return {
        "accuracy": lambda: sk.accuracy_score(labels, said),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(labels, said),
        "macro_f1": lambda: sk.f1_score(labels, said, average="macro"),
        "macro_auc": lambda: sk.roc_auc_score(labels, probs, multi_class="ovr"),
        "macro_auprc": lambda: sk.average_precision_score(np.eye(3)[labels], probs),
        "ece": lambda: ece(said == labels, probs.max(axis=1)),
        "kappa": lambda: sk.cohen_kappa_score(labels, said),
        "quadratic_kappa": lambda: sk.cohen_kappa_score(
            ranks[labels], ranks[said], weights="quadratic"
        ),
        "brier": lambda: np.square(probs - np.eye(3)[labels]).sum(axis=1).mean(),
        "log_loss": lambda: sk.log_loss(labels, probs),
    }[name]()


def of_group(last, truth, scores):
    if scores.ndim == 2:
        said = scores[:, 1] > scores[:, 0]
        return {
            "accuracy": (said == truth).mean(),
            "sensitivity": sk.recall_score(truth, said),
            "specificity": sk.recall_score(1 - truth, ~said),
            "ppv": sk.precision_score(truth, said),
            "npv": sk.precision_score(1 - truth, ~said),
        }[last]
    return {
        "auc": lambda: sk.roc_auc_score(truth, scores),
        "auprc": lambda: sk.average_precision_score(truth, scores),
        "partial_auc": lambda: sk.roc_auc_score(truth, scores, max_fpr=MAX_FPR),
        "brier": lambda: sk.brier_score_loss(truth, scores),
        "log_loss": lambda: sk.log_loss(truth, scores),
        "ece": lambda: ece(truth, scores),
    }[last]()


def of_one_class(last, labels, scores):
    if scores.ndim == 1:
        return of_group(last, labels, scores)
    truth, said = labels == 2, scores.argmax(axis=1) == 2
    return {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}[last](
        truth, said
    )


@pytest.mark.parametrize("name", [*COMPARABLE, *PER_CLASS])
def test_values_are_scikit_learns_and_a_weight_is_as_many_images(name):
    q = quantity(name, CLASSES, ORDER)
    assert q.name == name
    labels, scores = inputs(q.needs, one_class=bool(q.of_class))
    head, _, last = name.rpartition(".")
    wanted = of_classes if not head else of_one_class if head == "per_class.c" else of_group
    value = q.statistic(labels, scores, np.ones((1, N)))
    assert value.shape == (1,) and value[0] == pytest.approx(wanted(last, labels, scores))
    weights = np.random.default_rng(1).integers(0, 3, (2, N))
    found = q.statistic(labels, scores, weights.astype(float))
    for row, times in zip(found, weights, strict=True):
        often = np.repeat(np.arange(N), times)
        again = q.statistic(labels[often], scores[often], np.ones((1, len(often))))[0]
        assert row == pytest.approx(again)


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("accuracy", [1, 1, 1, 1]),
        ("binary.accuracy", [1, 1, 1, 1]),
        ("binary.sensitivity", [0, 1, 0, 1]),
        ("youden.specificity", [1, 0, 1, 0]),
    ],
)
def test_which_images_a_share_is_of(name, counted):
    assert quantity(name).trials(np.array([0, 1, 0, 1])).tolist() == counted


def test_recall_is_a_share_of_its_class_and_other_metrics_are_of_no_images():
    recall = quantity("per_class.c.recall", CLASSES).trials(np.array([0, 1, 2, 2]))
    assert recall.tolist() == [False, False, True, True]
    for name in ("balanced_accuracy", "macro_f1", "binary.ppv", "binary.auc"):
        assert quantity(name).trials is None
    for last in ("precision", "f1", "auc"):
        assert quantity(f"per_class.c.{last}", CLASSES).trials is None


def test_what_a_quantity_needs_and_how_it_is_shown():
    needs = {"accuracy": CLASS, "macro_auc": PROBS, "binary.ppv": CALL, "binary.auc": SCORE,
             "youden.npv": POINT}  # fmt: skip
    for name, wanted in needs.items():
        q = quantity(name)
        assert q.needs == wanted and q.for_groups == (wanted in (CALL, SCORE, POINT))
        assert q.imagined == (OF_SCORES if wanted in (PROBS, SCORE) else OF_VERDICTS)
        assert q.scale == (1.0 if wanted in (PROBS, SCORE) else 100.0)
    assert quantity("youden.npv").point == "youden" and quantity("binary.npv").point == ""
    assert [quantity(n).delong for n in ("binary.auc", "binary.auprc", "macro_auc")] == [1, 0, 0]
    one = quantity("per_class.a.auc", CLASSES)
    assert one.delong and one.of_class == "a" and one.needs == PROBS
    assert [quantity(n).better for n in ("accuracy", "binary.ece", "brier")] == [1, -1, -1]
    widest = {"macro_auc": 1, "macro_auprc": 1, "ece": 1, "kappa": 2, "quadratic_kappa": 2,
              "brier": 2, "log_loss": np.inf}  # fmt: skip
    assert {name: quantity(name).widest for name in widest} == widest


def test_a_kind_of_image_that_is_missing_leaves_the_metric_undefined():
    scores, ones = np.array([0.2, 0.6, 0.9]), np.ones((2, 3))
    for name in ("auc", "auprc", "partial_auc"):
        found = quantity(f"binary.{name}").statistic(np.zeros(3, int), scores, ones)
        assert np.isnan(found).all(), name
        nobody = np.array([[1.0, 0, 0], [0, 1, 1]])  # a resample without one of the kinds
        found = quantity(f"binary.{name}").statistic(np.array([0, 1, 1]), scores, nobody[:1])
        assert np.isnan(found).all(), name
    found = quantity("binary.partial_auc").statistic(np.array([0, 1, 1]), scores, nobody)
    assert np.isnan(found).all()
    probs = np.stack([1 - scores, scores], axis=1)
    assert np.isnan(quantity("macro_auc").statistic(np.zeros(3, int), probs, ones)).all()
    assert np.isnan(quantity("binary.sensitivity").statistic(np.zeros(3, int), probs, ones)).all()
    unordered = quantity("quadratic_kappa", ("a", "b"), ("a",))
    assert np.isnan(unordered.statistic(np.array([0, 1, 0]), probs, ones)).all()


@pytest.mark.parametrize("name", ["f1", "per_class.f1", "per_class.c.kappa", "binary.f2", "youden"])
def test_what_cannot_be_compared_is_refused(name):
    with pytest.raises(UserError, match=f"no comparison of '{name}'"):
        check_comparable(name)


def test_a_class_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="no class 'd' in 'per_class.d.f1' .known: b, a, c"):
        quantity("per_class.d.f1", CLASSES)
    assert check_comparable("per_class.HSIL 1.2.f1") == "per_class.HSIL 1.2.f1"
