"""Numbers as a report prints them: ``71.6 [62.9, 79.2]``; a dash where nothing is defined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cerviclip.evaluation.names import patients_known
from cerviclip.evaluation.shown import INTERVAL
from cerviclip.evaluation.shown import cell as cell
from cerviclip.evaluation.shown import signed as signed
from cerviclip.runs.report.groups import TITLES
from cerviclip.runs.report.tables import POSITIVE_RULE

RULE = (
    f"{POSITIVE_RULE[0].upper()}{POSITIVE_RULE[1:]}; sensitivity, specificity, PPV, NPV and binary "
    "accuracy are those of this rule where no operating point is named."
)
SHORT = {
    "accuracy": "Accuracy (%)",
    "balanced_accuracy": "Balanced accuracy (%)",
    "macro_f1": "Macro F1 (%)",
    "macro_auc": "Macro AUC",
    "ece": "ECE",
    "binary.accuracy": "Binary accuracy (%)",
    "binary.auc": "AUC of the positive group",
    "binary.sensitivity": "Sensitivity (%)",
    "binary.specificity": "Specificity (%)",
    "binary.ppv": "PPV (%)",
    "binary.npv": "NPV (%)",
}


def interval_note(centers: Mapping[str, Any]) -> str:
    """Of what the intervals in brackets are: of patients, or of images where none is known.

    Args:
        centers: of results.json.
    """
    nameless = [name for name, entry in centers.items() if not patients_known(entry)]
    if not nameless:
        return INTERVAL
    if len(nameless) == len(centers):
        return "95 % interval by image in brackets, since no patient is known."
    where = ", ".join(nameless)
    return f"95 % interval by patient in brackets, at {where} by image: no patient is known there."


def title_of(metric: str) -> str:
    """A metric's name at the start of a row."""
    return SHORT.get(metric, TITLES.get(metric, metric))


def digits_of(metric: str) -> int:
    return 3 if metric.endswith(("auc", "ece", "auprc", "brier", "loss")) else 1


def size_of(entry: Mapping[str, Any]) -> str:
    """``199 / 60``: images and patients of a centre's scores."""
    return f"{entry['n_images']} / {entry['n_patients'] if patients_known(entry) else 'not known'}"


def count(entry: Mapping[str, Any] | None) -> str:
    """``451 (45)``: images and patients."""
    if not entry:
        return "-"
    patients = entry.get("patients")
    return f"{entry['images']:,}" + ("" if patients is None else f" ({patients:,})")
