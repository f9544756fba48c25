"""Measures of predictions besides a centre's usual metrics, one file for each concept.

``measure`` makes the blocks of results.json. ``Home`` holds what is chosen on val and used at
every centre. Nothing here needs torch.
"""

from cerviclip.evaluation.measures.blocks import measure, measure_with
from cerviclip.evaluation.measures.discrimination import discrimination
from cerviclip.evaluation.measures.home import Home
from cerviclip.evaluation.measures.patients import by_patient
from cerviclip.evaluation.measures.probabilities.calibration import (
    binary_calibration,
    calibration,
    reliability,
)
from cerviclip.evaluation.measures.probabilities.conformal import ConformalSets, measure_sets
from cerviclip.evaluation.measures.probabilities.recalibration import Isotonic, Temperature
from cerviclip.evaluation.measures.sample import Sample, Settings
from cerviclip.evaluation.measures.thresholds.decision_curve import decision_curve, net_benefit

__all__ = [
    "ConformalSets",
    "Home",
    "Isotonic",
    "Sample",
    "Settings",
    "Temperature",
    "binary_calibration",
    "by_patient",
    "calibration",
    "decision_curve",
    "discrimination",
    "measure",
    "measure_sets",
    "measure_with",
    "net_benefit",
    "reliability",
]
