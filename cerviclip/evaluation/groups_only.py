"""Scores where classes are not to be had: of a centre that knows the positive group alone, or none.

The model is one of many classes: a centre's image counts as predicted positive where the most
probable class is one of the positive group, as at every other centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cerviclip.data.centers.coarse import class_stand_ins
from cerviclip.evaluation.names import BINARY, FEW, OVERALL, PER_CLASS
from cerviclip.evaluation.report import score, undefined

WHY = "the labels of this centre are positive or negative, not classes (DATASET.BINARY_MAP)"


def score_groups(
    labels: Sequence[int],
    probs: np.ndarray,
    patient_ids: Sequence[str],
    classnames: Sequence[str],
    positive: Sequence[str],
    intervals: str = FEW,
) -> dict[str, Any]:
    """Score the positive group alone.

    Args:
        labels: (B,) of ``cerviclip.data.centers.coarse``: positive or negative.
        probs: (B, C) probabilities of the training's classes.
        patient_ids: (B,) ids, "" where unknown.
        classnames: (C,) in label order.
        positive: class names of the positive group; some, and not all of them.
        intervals: as of ``report.score``.

    Returns:
        A centre's entry of results.json whose ``binary`` is as ever; all that needs classes is
        null with a reason, ``confusion_matrix`` null.
    """
    # The binary metrics ask for the group alone.
    stand_ins = class_stand_ins(labels, classnames, positive)
    entry = score(stand_ins, probs, patient_ids, classnames, positive, intervals)
    entry |= {name: undefined(WHY) for name in OVERALL}
    row = {name: undefined(WHY) for name in PER_CLASS}
    entry["per_class"] = {name: {**row, "support": None} for name in classnames}
    entry["confusion_matrix"] = None
    if "counts" in entry:
        entry["counts"].pop("per_class")
    return entry


def unscored(classnames: Sequence[str], n_images: int, reason: str) -> dict[str, Any]:
    """The entry of images that a model cannot be scored on; all is null with the reason."""
    row = {name: undefined(reason) for name in PER_CLASS}
    return {
        "n_images": n_images,
        "n_patients": 0,
        **{name: undefined(reason) for name in OVERALL},
        "per_class": {name: {**row, "support": None} for name in classnames},
        "confusion_matrix": None,
        "binary": {name: undefined(reason) for name in BINARY},
    }
