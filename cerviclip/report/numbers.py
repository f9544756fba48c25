"""Numbers as a report prints them: ``71.6 [62.9, 79.2]``; a dash where nothing is defined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


INTERVAL = "95 % interval by patient in brackets."  # under every table that has them


def title_of(metric: str) -> str:
    """A metric's name at the start of a row."""
    return SHORT.get(metric, TITLES.get(metric, metric))


def digits_of(metric: str) -> int:
    return 3 if metric.endswith(("auc", "ece", "auprc", "brier", "loss")) else 1


def cell(entry: Mapping[str, Any] | None, digits: int = 1) -> str:
    """A number with its interval."""
    if not entry or entry.get("value") is None:
        return "-"
    text = signed(entry["value"], digits)
    if entry.get("low") is None and entry.get("high") is None:
        return text
    low, high = (
        "-∞" if side == "low" and entry[side] is None
        else "∞" if entry[side] is None
        else signed(entry[side], digits)
        for side in ("low", "high")
    )  # fmt: skip
    return f"{text} [{low}, {high}]"


def signed(value: float, digits: int) -> str:
    """With a true minus; no minus before a zero."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:.{digits}f}".replace("-", "−")


def count(entry: Mapping[str, Any] | None) -> str:
    """``451 (45)``: images and patients."""
    if not entry:
        return "-"
    patients = entry.get("patients")
    return f"{entry['images']:,}" + ("" if patients is None else f" ({patients:,})")
