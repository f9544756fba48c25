"""Metrics in the field's words, as headings and sentences have them."""

from __future__ import annotations

from cerviclip.runs.report.groups import TITLES

_POINTS = {
    "sensitivity_95": "95 % sensitivity on val",
    "specificity_95": "95 % specificity on val",
    "youden": "Youden on val",
    "cost": "least cost on val",
}
_MORE = {
    "macro_auprc": "macro average precision",
    "kappa": "Cohen's kappa",
    "quadratic_kappa": "quadratic weighted kappa",
    "brier": "Brier score",
    "log_loss": "log loss",
    "binary.auprc": "binary average precision",
    "binary.partial_auc": "binary partial AUC, specificity from 90 %",
    "binary.brier": "Brier score of the positive group",
    "binary.log_loss": "log loss of the positive group",
    "binary.ece": "expected calibration error of the positive group",
}
_OF_CLASS = {
    "precision": "precision of {}",
    "recall": "recall of {}",
    "f1": "F1 of {}",
    "auc": "AUC of {} against the rest",
    "auprc": "average precision of {} against the rest",
}


def title_of(metric: str) -> str:
    """A metric's name within a sentence, without its unit.

    Args:
        metric: one that ``cerviclip compare`` knows; others stay as they are.
    """
    head, _, last = metric.rpartition(".")
    if head in _POINTS:
        return f"{title_of(f'binary.{last}')} at {_POINTS[head]}"
    if head.startswith("per_class.") and last in _OF_CLASS:
        return _OF_CLASS[last].format(head.removeprefix("per_class."))
    return _MORE.get(metric, TITLES.get(metric, metric)).removesuffix(" (%)")


def heading_of(metric: str) -> str:
    """The same for a heading, with its unit."""
    if metric in TITLES:
        return TITLES[metric]
    title = title_of(metric)
    of_class = title != metric and metric.startswith("per_class.")
    return f"{title} (%)" if of_class and not metric.endswith(("auc", "auprc")) else title


def is_fraction(metric: str) -> bool:
    """Whether a metric is in 0-1 (AUC, ECE), not in percent."""
    return metric.rsplit(".", 1)[-1] in ("auc", "macro_auc", "ece")
