"""Whether probabilities mean what they say, before and after what home fitted to mend them.

Letters: B images, P patients, k coefficients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, stdtrit

from cerviclip.evaluation.bootstrap import MIN_PATIENTS
from cerviclip.evaluation.intervals import proportion_intervals
from cerviclip.evaluation.intervals.binomial import NO_WIDTH
from cerviclip.evaluation.intervals.means import LEAST_PROBABILITY
from cerviclip.evaluation.measures.home import Home
from cerviclip.evaluation.measures.probabilities.losses import (
    binary_ece,
    bins_of,
    classwise_ece,
    loss_cells,
    top_label_ece,
)
from cerviclip.evaluation.measures.sample import FEW_PATIENTS, LEVEL, Sample, metric
from cerviclip.evaluation.measures.thresholds.decision_curve import decision_curve

BEFORE, TEMPERATURE, ISOTONIC = "before", "temperature", "isotonic"
RELIABILITY_BINS = 10
SEPARATED = "the probabilities part positives and negatives wholly: no finite slope"
ONE_PATIENT = "one patient alone decides it"
ALL_ALIKE = "each patient alone gives the same value, so patients show no spread"
_STEPS = 50
_LEAST_LEFT = 1e-9  # share of the information that the other patients must have
ONLY_GROUP = "isotonic maps the positive group's probability alone"


def calibration(sample: Sample, home: Home) -> dict[str, Any]:
    """A centre's entry of the block ``calibration``.

    Returns:
        ``before``, ``temperature`` and ``isotonic``, each with ``classes`` (``brier log_loss ece
        classwise_ece``) and ``binary`` (``intercept slope observed_expected brier log_loss ece``,
        a ``reliability`` diagram and a ``decision_curve``), or a ``reason`` where there is none.
    """
    out: dict[str, Any] = {
        TEMPERATURE: {"reason": home.reason},
        ISOTONIC: {"reason": home.no_binary},
    }
    for name, version, score in versions(sample, home):
        if version is not None:
            out[name] = _entry(version, score)
        else:
            binary = binary_calibration(sample, score)
            out[name] = {"classes": {"reason": ONLY_GROUP}, "binary": binary}
    return {name: out[name] for name in (BEFORE, TEMPERATURE, ISOTONIC)}


def versions(sample: Sample, home: Home) -> list[tuple[str, Sample | None, np.ndarray]]:
    """The sample as it is and recalibrated: name, sample, and score of the positive group.

    Isotonic regression gives the score alone; its sample is None.
    """
    found: list[tuple[str, Sample | None, np.ndarray]] = [(BEFORE, sample, sample.score)]
    if home.temperature is not None:
        changed = sample.with_probs(home.temperature.apply(sample.probs))
        found.append((TEMPERATURE, changed, changed.score))
    if home.isotonic is not None:
        found.append((ISOTONIC, None, home.isotonic.apply(sample.score)))
    return found


def _entry(sample: Sample, score: np.ndarray) -> dict[str, Any]:
    if not len(sample):
        return {"reason": "no images"}
    of = (sample.labels, sample.probs, sample.patients)
    classes = loss_cells(*of) | {
        "ece": top_label_ece(sample),
        "classwise_ece": classwise_ece(sample),
    }
    return {"classes": classes, "binary": binary_calibration(sample, score)}


def binary_calibration(sample: Sample, score: np.ndarray) -> dict[str, Any]:
    """Calibration of (B,) probabilities of the positive group.

    ``intercept`` is 0 and ``slope`` 1 for a calibrated model: below 0, too many positives are
    foretold; below 1, probabilities are too extreme. ``observed_expected`` is the number of
    positives over that foretold. ``brier`` is the mean squared error, 0 to 1.
    """
    if sample.no_group or not len(sample):
        return {"reason": sample.no_binary}
    outcome, patients = sample.is_positive, sample.patients
    two = np.stack([1 - score, score], axis=1)
    losses = loss_cells(outcome.astype(np.int64), two, patients)
    brier = {key: x / 2 if key != "reason" and x is not None else x  # one class, not the sum of two
             for key, x in losses["brier"].items()}  # fmt: skip
    return {
        **_regression(sample, score),
        "observed_expected": _observed_expected(sample, score),
        "brier": brier,
        "log_loss": losses["log_loss"],
        "ece": binary_ece(sample, score),
        "reliability": reliability(sample, score),
        "decision_curve": decision_curve(sample, score),
    }


def _regression(sample: Sample, score: np.ndarray) -> dict[str, Any]:
    """Intercept (slope held at 1) and slope of the outcome's logistic regression (Cox 1958)."""
    if sample.no_binary:
        return dict.fromkeys(("intercept", "slope"), metric(np.nan, reason=sample.no_binary))
    bounded = np.clip(score, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    logit = np.log(bounded) - np.log1p(-bounded)
    outcome = sample.is_positive.astype(float)
    ones = np.ones((len(sample), 1))
    of = (outcome, sample.patients)
    intercept = _cell(logistic(ones, *of, offset=logit), 0, sample, "no finite intercept")
    parted = logit[outcome == 1].min() >= logit[outcome == 0].max()
    if parted or np.ptp(logit) == 0:
        reason = SEPARATED if np.ptp(logit) else "all probabilities are equal"
        return {"intercept": intercept, "slope": metric(np.nan, reason=reason)}
    found = logistic(np.column_stack([ones, logit]), *of)
    return {"intercept": intercept, "slope": _cell(found, 1, sample, SEPARATED)}


def _cell(
    found: tuple[np.ndarray, np.ndarray], k: int, sample: Sample, reason: str
) -> dict[str, Any]:
    value, variance = found[0][k], found[1][k, k]
    if np.isnan(value) or sample.n_patients < MIN_PATIENTS:
        return metric(value, reason=reason if np.isnan(value) else FEW_PATIENTS)
    if np.isnan(variance):
        return metric(value, reason=ONE_PATIENT)
    # As many patients tell the coefficient as there are of the rarer outcome.
    fewest = min(len(np.unique(sample.patients[of])) for of in _both(sample))
    reach = stdtrit(max(fewest - 1, 1), 0.5 + LEVEL / 2) * np.sqrt(variance)
    if reach < NO_WIDTH:
        return metric(value, reason=ALL_ALIKE)
    return metric(value, (value - reach, value + reach))


def _both(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    return sample.is_positive, ~sample.is_positive


def logistic(
    x: np.ndarray, outcome: np.ndarray, patients: np.ndarray, offset: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression by Newton's method, with jackknife covariances by patient.

    Args:
        x: (B, k) regressors, one or two.
        outcome: (B,) 0 or 1.
        patients: (B,) patient numbers from 0.
        offset: (B,) added to the linear predictor.

    Returns:
        (k,) coefficients and (k, k) covariances; NaN where the iteration does not settle, and
        covariances NaN where one patient alone holds the coefficients.
    """
    beta = np.zeros(x.shape[1])
    none = np.full(len(beta), np.nan), np.full((len(beta),) * 2, np.nan)
    for _ in range(_STEPS):
        p = expit(x @ beta + offset)
        bread = x.T @ (x * (p * (1 - p))[:, None])
        if _singular(bread):
            return none
        step = np.linalg.solve(bread, x.T @ (outcome - p))
        length = np.abs(step).max()
        beta = beta + step * min(1.0, 5.0 / max(length, 1e-12))  # far starts must not overshoot
        if length < 1e-9:
            break
    else:
        return none
    return beta, _jackknife(x, outcome - p, p * (1 - p), patients)


def _jackknife(
    x: np.ndarray, residuals: np.ndarray, weights: np.ndarray, patients: np.ndarray
) -> np.ndarray:
    """(k, k) covariances from leaving out one patient after the other (CR3), a Newton step each.

    The sandwich takes residuals of the fit, which few patients draw to themselves: its errors are
    too small. NaN where one patient alone holds the coefficients.
    """
    count, k = int(patients.max()) + 1, x.shape[1]
    products = (x[:, :, None] * x[:, None, :] * weights[:, None, None]).reshape(len(x), -1)
    bread = np.stack([np.bincount(patients, column, count) for column in products.T], axis=1)
    scores = np.stack([np.bincount(patients, column, count) for column in x.T * residuals], axis=1)
    without = (bread.sum(axis=0) - bread).reshape(count, k, k)
    whole = np.linalg.slogdet(bread.sum(axis=0).reshape(k, k))[1]
    sign, size = np.linalg.slogdet(without)
    if (sign <= 0).any() or (size < whole + np.log(_LEAST_LEFT)).any():
        return np.full((k, k), np.nan)
    moves = np.linalg.solve(without, scores[:, :, None])[:, :, 0]
    return moves.T @ moves * (count - 1) / count


def _singular(bread: np.ndarray) -> bool:
    """Whether a symmetric matrix of one or two rows is so nearly singular that no step is safe."""
    if len(bread) == 1:
        return not bread[0, 0] > 0
    product, middle = bread[0, 0] * bread[1, 1] - bread[0, 1] ** 2, np.trace(bread) / 2
    greatest = middle + np.sqrt(max(middle**2 - product, 0.0))
    return not greatest**2 < 1e12 * product


def _observed_expected(sample: Sample, score: np.ndarray) -> dict[str, Any]:
    """Positives over positives foretold; its limits are those of the share of positives."""
    expected = score.mean()
    if expected <= 0:
        return metric(np.nan, reason="no positive is foretold")
    limits = None
    if sample.n_patients >= MIN_PATIENTS:
        limits = np.array(sample.share_limits) / expected
    return metric(sample.is_positive.mean() / expected, limits, FEW_PATIENTS)


def reliability(sample: Sample, score: np.ndarray) -> dict[str, Any]:
    """Points of a reliability diagram in ten equal bins; bins without images are left out.

    Returns:
        ``predicted`` (mean probability), ``observed`` (share of positives), its ``low`` and
        ``high`` limits by patient (null below 3 patients), and ``images``.
    """
    bins = bins_of(score, RELIABILITY_BINS)
    images = np.bincount(bins, minlength=RELIABILITY_BINS)
    here = np.flatnonzero(images)
    predicted = np.bincount(bins, score, RELIABILITY_BINS)[here] / images[here]
    observed = np.bincount(bins, sample.is_positive, RELIABILITY_BINS)[here] / images[here]
    low = high = [None] * len(here)
    if sample.n_patients >= MIN_PATIENTS:
        low, high = (x.tolist() for x in proportion_intervals(*bin_counts(sample, score), LEVEL))
    return {
        "predicted": predicted.tolist(),
        "observed": observed.tolist(),
        "low": low,
        "high": high,
        "images": images[here].tolist(),
    }


def bin_counts(sample: Sample, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images of each patient in each bin of a reliability diagram that has any, (M, P): positive
    ones, and all."""
    bins = bins_of(score, RELIABILITY_BINS)
    cells, size = bins * sample.n_patients + sample.patients, RELIABILITY_BINS * sample.n_patients
    shape = (RELIABILITY_BINS, sample.n_patients)
    trials = np.bincount(cells, minlength=size).reshape(shape)
    hits = np.bincount(cells, sample.is_positive, size).reshape(shape)
    here = trials.any(axis=1)
    return hits[here], trials[here]
