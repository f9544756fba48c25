"""95 % intervals over patients: pure NumPy, a file for each kind of metric.

A measure without a file of its own takes ``interval_of``:

    from sklearn.metrics import f1_score
    def f1(labels, scores, weights):
        return f1_score(labels, scores > 0.5, sample_weight=weights)
    interval_of(one_by_one(f1), labels, scores, patients)  # Estimate(value, low, high, undefined)
"""

from cerviclip.evaluation.intervals.auc import auc_intervals, several_auc_intervals
from cerviclip.evaluation.intervals.binomial import Interval
from cerviclip.evaluation.intervals.calibration import ece_interval
from cerviclip.evaluation.intervals.generic import Estimate, Statistic, interval_of, one_by_one
from cerviclip.evaluation.intervals.means import class_mean_interval, loss_interval
from cerviclip.evaluation.intervals.measures import (
    auprc_interval,
    brier_interval,
    kappa_interval,
    log_loss_interval,
)
from cerviclip.evaluation.intervals.proportions import (
    proportion_intervals,
    several_proportion_intervals,
)

__all__ = [
    "Estimate",
    "Interval",
    "Statistic",
    "auc_intervals",
    "auprc_interval",
    "brier_interval",
    "class_mean_interval",
    "ece_interval",
    "interval_of",
    "kappa_interval",
    "log_loss_interval",
    "loss_interval",
    "one_by_one",
    "proportion_intervals",
    "several_auc_intervals",
    "several_proportion_intervals",
]
