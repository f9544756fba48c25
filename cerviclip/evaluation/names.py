"""Names in ``results.json``, for those who score and those who read. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dassl.errors import nearest_or_all

IN_DOMAIN = "test"  # the centre that is the data set's own test part
VAL = "val"  # scored in its place where TEST.SPLIT is val
NEW = "new"  # the classes that a base-to-new run has not seen
#: "Centres" of results.json that are parts of the training's own data set, and no other hospital.
HOME_PARTS = (IN_DOMAIN, VAL, NEW)
OVERALL = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece")
PER_CLASS = ("precision", "recall", "f1")
BINARY = ("accuracy", "auc", "sensitivity", "specificity", "ppv", "npv")
#: Those of the positive group that no image needs to be called positive for.
BINARY_OF_SCORES = ("auc", "auprc", "partial_auc", "brier", "log_loss", "ece")
#: Values of ``TEST.INTERVALS``: methods that hold with few patients, and resampled patients. Older
#: runs have it empty or not at all: theirs are resampled patients.
INTERVALS = FEW, BOOTSTRAP, OLD = ("few_patients", "bootstrap", "")
POINTS = "points"  # no intervals; for those who compare values alone, no TEST.INTERVALS
WANTED_PATIENTS = 20  # fewer: a note
WANTED_EVENTS = 10  # the same for patients with the event and without it, or with a class
#: Values of ``TEST.PATIENT_RULE``: how a patient's images become one prediction.
PATIENT_RULES = ("mean", "max", "share")
EACH_IMAGE = "no patient ids: each image counts as a patient"
NO_IDS = f"{EACH_IMAGE} of its own, so intervals may be too narrow"
NO_POSITIVE_CLASSES = "no positive classes are set (DATASET.POSITIVE)"
WHOLE_POSITIVE_GROUP = "every class is in the positive group"
#: Keys of results.json that ``measures.measure`` makes; None where a run was not measured.
LEVEL_BLOCKS = (
    "discrimination",
    "operating_points",
    "calibration",
    "conformal",
    "generalisation_gap",
)
BLOCKS = (*LEVEL_BLOCKS, "patient_level", "measured_with")
#: How far a row of probabilities may be from adding up to 1: old files may hold
#: rounded ones.
SUM_TOLERANCE = 1e-3


def patients_known(entry: Mapping[str, Any]) -> bool:
    """Whether a centre's entry of results.json counts patients; else ``n_patients`` are images."""
    by_image = (entry.get("uncertainty") or {}).get("unit") == "image"
    return not by_image and NO_IDS not in (entry.get("note") or "")


def metric_hint(metric: str, names: Sequence[str]) -> str:
    """What a metric that there is not may mean: ``auc`` is like no name as a whole, but the end of
    ``binary.auc``, and ``acc`` the beginning of ``accuracy``. Else the nearest, else all."""
    meant = [name for name in names if name.rpartition(".")[2] == metric]
    meant += [name for name in names if name.endswith(f"_{metric}") or name.startswith(metric)]
    if meant:
        return f", did you mean {' or '.join(dict.fromkeys(meant[:3]))}?"
    return nearest_or_all(metric, names, "docs/compare.md")


def is_of_calls(metric: str) -> bool:
    """Whether a metric counts images that are called positive by their most probable class."""
    head, _, last = metric.partition(".")
    return head == "binary" and last not in BINARY_OF_SCORES
