"""Captions of the figures of the run in detail: of thresholds and maps those that val chose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cerviclip.evaluation.names import patients_known
from cerviclip.report.sentences.partitions import chosen_on_val, was_calibrated
from cerviclip.runs.report.prediction_figures import HIGHEST


def captions(run: Mapping[str, Any]) -> dict[str, str]:
    """``roc``, ``probabilities``, ``reliability`` and ``decision`` -> its caption."""
    points = ", with the operating points chosen on val and carried unchanged"
    lines = "; lines are the thresholds"
    maps = " before calibration and after maps that were fitted on val"
    known = any(map(patients_known, run["centers"].values()))
    bars = "by patient" if known else "by image, since no patient is known"
    chosen, fitted = chosen_on_val(run), was_calibrated(run)
    return {
        "roc": f"ROC curves by image{points * chosen}.",
        "probabilities": f"Probability of the positive group by outcome{lines * chosen}.",
        "reliability": f"Reliability by image{maps * fitted}; bars are 95 % intervals {bars}.",
        "decision": "Decision curves by image: net benefit of acting on the model, on all and on "
        f"none. Thresholds end at {HIGHEST:g}, where one false alarm counts as much as "
        f"{HIGHEST / (1 - HIGHEST):.0f} missed positives; results.json has those up to 0.99.",
    }
