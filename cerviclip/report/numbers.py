"""Numbers as a report prints them: ``71.6 [62.9, 79.2]``; a dash where nothing is defined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cerviclip.evaluation.shown import INTERVAL as INTERVAL
from cerviclip.evaluation.shown import cell as cell
from cerviclip.evaluation.shown import signed as signed
from cerviclip.runs.report.groups import TITLES

SHORT = {
    "accuracy": "Accuracy (%)",
    "balanced_accuracy": "Balanced accuracy (%)",
    "macro_f1": "Macro F1 (%)",
    "macro_auc": "Macro AUC",
    "ece": "ECE",
    "binary.accuracy": "Accuracy of the positive group (%)",
    "binary.auc": "AUC of the positive group",
    "binary.sensitivity": "Sensitivity (%)",
    "binary.specificity": "Specificity (%)",
    "binary.ppv": "PPV (%)",
    "binary.npv": "NPV (%)",
}


def title_of(metric: str) -> str:
    """A metric's name at the start of a row."""
    return SHORT.get(metric, TITLES.get(metric, metric))


def digits_of(metric: str) -> int:
    return 3 if metric.endswith(("auc", "ece", "auprc", "brier", "loss")) else 1


def count(entry: Mapping[str, Any] | None) -> str:
    """``451 (45)``: images and patients."""
    if not entry:
        return "-"
    patients = entry.get("patients")
    return f"{entry['images']:,}" + ("" if patients is None else f" ({patients:,})")
