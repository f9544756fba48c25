"""What can be compared: each metric as a function of weighted images, in its usual unit.

Letters: R resamples, N rows, B images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cerviclip.evaluation.bootstrap import confusion_metrics, weighted_auc, weighted_ece
from cerviclip.evaluation.intervals import Statistic, measures
from cerviclip.evaluation.intervals.generic import one_by_one
from cerviclip.evaluation.intervals.paired import OF_SCORES, OF_VERDICTS
from cerviclip.evaluation.measures.discrimination import MAX_FPR
from cerviclip.evaluation.measures.thresholds.operating_points import POINTS
from cerviclip.evaluation.names import BINARY, BINARY_OF_SCORES, PER_CLASS, metric_hint
from dassl.errors import UserError

#: What a method must give of an image for a quantity of it, in words of a message.
CLASS, PROBS, CALL, SCORE, POINT = (
    "a class",
    "probabilities of the classes",
    "a verdict, positive or negative",
    "a score of the positive group",
    "a threshold that was chosen on val",
)
_RATES = ("sensitivity", "specificity", "ppv", "npv")
_OF_CLASSES = {
    "accuracy": CLASS,
    "balanced_accuracy": CLASS,
    "macro_f1": CLASS,
    "macro_auc": PROBS,
    "macro_auprc": PROBS,
    "ece": PROBS,
    "kappa": CLASS,
    "quadratic_kappa": CLASS,
    "brier": PROBS,
    "log_loss": PROBS,
}
COMPARABLE = (
    *_OF_CLASSES,
    *(f"binary.{name}" for name in dict.fromkeys((*BINARY, *BINARY_OF_SCORES))),
    *(f"{point}.{rate}" for point in POINTS for rate in _RATES),
)
_CLASS_PARTS = (*PER_CLASS, "auc", "auprc")
#: Less is better.
LOSSES = ("ece", "brier", "log_loss")


@dataclass(frozen=True)
class Quantity:
    """One metric.

    ``statistic`` is as ``interval_of`` takes it. ``trials`` (of labels) tells which images count
    where the metric is a share of them; then McNemar's test is there. ``delong``: it is one AUC.
    """

    name: str
    needs: str
    statistic: Statistic
    widest: float = 1.0  # the greatest difference, in the statistic's unit
    scale: float = 100.0  # 100: it is shown in percent
    trials: Callable[[np.ndarray], np.ndarray] | None = None
    delong: bool = False
    point: str = ""
    of_class: str = ""

    @property
    def imagined(self) -> float:
        """Patients that a resample has beside the real ones; scores show more than verdicts."""
        return OF_VERDICTS if self.needs in (CLASS, CALL, POINT) else OF_SCORES

    @property
    def better(self) -> int:
        """1 if more is better, -1 if less."""
        return -1 if self.name.rsplit(".", 1)[-1] in LOSSES else 1

    @property
    def for_groups(self) -> bool:
        """Positive against negative is enough to know of an image."""
        return self.needs in (CALL, SCORE, POINT)


def check_comparable(metric: str) -> str:
    """The metric's name if differences of it can be computed."""
    head, _, rest = metric.partition(".")
    known = head == "per_class" and rest.rpartition(".")[0] and rest.endswith(_CLASS_PARTS)
    if metric in COMPARABLE or known:
        return metric
    said = metric_hint(metric, [*COMPARABLE, "per_class.<class>.f1"])
    raise UserError(f"no comparison of {metric!r}{said}")


def quantity(name: str, classnames: Sequence[str] = (), order: Sequence[str] = ()) -> Quantity:
    """A metric by its name.

    Args:
        name: of ``COMPARABLE``, or ``per_class.<class>.<precision, recall, f1, auc or auprc>``.
        classnames: (C,) in label order; ``per_class`` needs them.
        order: the classes from the mildest to the worst, for quadratic kappa.
    """
    check_comparable(name)
    head, _, last = name.rpartition(".")
    if name in _OF_CLASSES:
        return _of_classes(name, classnames, order)
    if head in POINTS:
        return _of_calls(name, last, POINT, head)
    if head == "binary":
        return _of_scores(name, last) if last in BINARY_OF_SCORES else _of_calls(name, last, CALL)
    return _of_one_class(name, head.removeprefix("per_class."), last, classnames)


def _of_classes(name: str, classnames: Sequence[str], order: Sequence[str]) -> Quantity:
    needs = _OF_CLASSES[name]
    if name in ("accuracy", "balanced_accuracy", "macro_f1"):
        trials = _all if name == "accuracy" else None
        return Quantity(name, needs, partial(_confusion, name), trials=trials)
    ranks = np.argsort(np.argsort([list(order).index(c) for c in classnames if c in order]))
    quadratic = partial(_quadratic, ranks)
    found: dict[str, tuple[Statistic, float]] = {
        "macro_auc": (partial(_macro, weighted_auc_of), 1.0),
        "macro_auprc": (partial(_macro, measures.average_precision), 1.0),
        "ece": (_ece, 1.0),
        "kappa": (measures.kappa, 2.0),
        "quadratic_kappa": (quadratic, 2.0),
        "brier": (measures.brier, measures.GREATEST_BRIER),
        "log_loss": (measures.log_loss, np.inf),
    }
    statistic, widest = found[name]
    return Quantity(name, needs, statistic, widest, 1.0)


def _of_calls(name: str, rate: str, needs: str, point: str = "") -> Quantity:
    trials = {"accuracy": _all, "sensitivity": _positives, "specificity": _negatives}.get(rate)
    return Quantity(name, needs, partial(_rate, rate), trials=trials, point=point)


def _of_scores(name: str, last: str) -> Quantity:
    found: dict[str, tuple[Statistic, float]] = {
        "auc": (weighted_auc_of, 1.0),
        "auprc": (measures.average_precision, 1.0),
        "partial_auc": (one_by_one(_partial_auc), 1.0),
        "brier": (partial(_two_columns, _half_brier), 1.0),
        "log_loss": (partial(_two_columns, measures.log_loss), np.inf),
        "ece": (_score_ece, 1.0),
    }
    statistic, widest = found[last]
    return Quantity(name, SCORE, statistic, widest, 1.0, delong=last == "auc")


def _of_one_class(name: str, of_class: str, last: str, classnames: Sequence[str]) -> Quantity:
    if of_class not in classnames:
        raise UserError(f"no class {of_class!r} in {name!r} (known: {', '.join(classnames)})")
    if last in ("auc", "auprc"):
        statistic = weighted_auc_of if last == "auc" else measures.average_precision
        return Quantity(name, PROBS, statistic, scale=1.0, delong=last == "auc", of_class=of_class)
    c = list(classnames).index(of_class)
    trials = (lambda labels: labels == c) if last == "recall" else None
    return Quantity(name, CLASS, partial(_confusion, last, column=c), trials=trials)


# -- statistics: (N,) labels, scores, (R, N) weights -> (R,) ----------------------------------


def _confusion(
    name: str, labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, column: int = -1
) -> np.ndarray:
    rows = np.arange(len(labels))
    n_classes = scores.shape[1]
    found = confusion_metrics(labels, scores.argmax(axis=1), rows, weights, n_classes)[name] / 100
    return found if found.ndim == 1 else found[:, column]


def _rate(rate: str, labels: np.ndarray, calls: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of (N, 2) verdicts, the second column greater where an image is called positive."""
    said, truth = calls[:, 1] > calls[:, 0], labels > 0
    of = {
        "accuracy": np.ones(len(labels), bool),
        "sensitivity": truth,
        "specificity": ~truth,
        "ppv": said,
        "npv": ~said,
    }[rate]
    total = weights @ of.astype(np.float64)
    hits = weights @ (of & (said == truth)).astype(np.float64)
    return np.divide(hits, total, out=np.full(len(weights), np.nan), where=total > 1e-12)


def weighted_auc_of(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) areas under the ROC curve of (N,) scores; NaN where one kind is missing."""
    if labels.min() > 0 or labels.max() < 1:
        return np.full(len(weights), np.nan)
    return weighted_auc(scores, labels > 0, np.arange(len(labels)), weights)


def _macro(of_one: Statistic, labels: np.ndarray, probs: np.ndarray, weights: np.ndarray):  # type: ignore[no-untyped-def]
    present = np.unique(labels)
    if len(present) < 2:
        return np.full(len(weights), np.nan)
    return np.mean([of_one((labels == c).astype(int), probs[:, c], weights) for c in present], 0)


def _ece(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weighted_ece(labels, probs, probs.argmax(axis=1), np.arange(len(labels)), weights)


def _score_ece(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of the positive group's probability, not of the predicted class's."""
    probs = np.stack([1 - scores, scores], axis=1)
    said = np.ones(len(labels), dtype=np.int64)
    return weighted_ece(labels, probs, said, np.arange(len(labels)), weights)


def _quadratic(
    ranks: np.ndarray, labels: np.ndarray, probs: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    if len(ranks) != probs.shape[1]:
        return np.full(len(weights), np.nan)
    ordered = np.argsort(ranks)
    return measures.quadratic_kappa(ranks[labels], probs[:, ordered], weights)


def _two_columns(
    of_two: Statistic, labels: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    return of_two(labels, np.stack([1 - scores, scores], axis=1), weights)


def _half_brier(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return measures.brier(labels, probs, weights) / 2  # squared error of one probability


def _partial_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    there = weights > 0
    if len(np.unique(labels[there])) < 2:
        return np.nan
    of = {"sample_weight": weights[there], "max_fpr": MAX_FPR}
    return float(roc_auc_score(labels[there], scores[there], **of))


def _all(labels: np.ndarray) -> np.ndarray:
    return np.ones(len(labels), dtype=bool)


def _positives(labels: np.ndarray) -> np.ndarray:
    return labels > 0


def _negatives(labels: np.ndarray) -> np.ndarray:
    return labels == 0
