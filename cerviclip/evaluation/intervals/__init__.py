"""95 % intervals over patients: pure NumPy, a file for each kind of metric."""

from cerviclip.evaluation.intervals.auc import auc_intervals
from cerviclip.evaluation.intervals.binomial import Interval
from cerviclip.evaluation.intervals.calibration import ece_interval
from cerviclip.evaluation.intervals.means import class_mean_interval, loss_interval
from cerviclip.evaluation.intervals.proportions import proportion_intervals

__all__ = [
    "Interval",
    "auc_intervals",
    "class_mean_interval",
    "ece_interval",
    "loss_interval",
    "proportion_intervals",
]
