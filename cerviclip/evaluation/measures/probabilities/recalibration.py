"""Recalibration fitted at home: a temperature for all classes, isotonic for the positive group.

Letters: B images, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from cerviclip.evaluation.intervals.means import LEAST_PROBABILITY
from cerviclip.evaluation.measures.sample import Sample

_REACH = np.log(100.0)  # temperatures from 0.01 to 100


@dataclass(frozen=True)
class Temperature:
    """Probabilities become ``softmax(log(p) / value)``: above 1 they come nearer to each other."""

    value: float
    at_limit: bool = False

    @classmethod
    def fit(cls, sample: Sample) -> Temperature:
        """The temperature of the least log loss on the sample (Guo et al. 2017)."""
        logits, rows = _logits(sample.probs), np.arange(len(sample))

        def loss(log_t: float) -> float:
            scaled = log_softmax(logits / np.exp(log_t), axis=1)
            return -float(scaled[rows, sample.labels].mean())

        found = minimize_scalar(loss, bounds=(-_REACH, _REACH), method="bounded")
        return cls(float(np.exp(found.x)), bool(abs(found.x) > 0.95 * _REACH))

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """(B, C) probabilities at this temperature."""
        return softmax(_logits(probs) / self.value, axis=1)

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "at_limit": self.at_limit}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Temperature:
        return cls(float(values["value"]), bool(values["at_limit"]))


@dataclass(frozen=True)
class Isotonic:
    """A rising step-free map of the positive-group probability, linear between its knots.

    It says no probability below ``1 / (2 n)`` or above ``1 - 1 / (2 n)``, for n images of home:
    so many images cannot show a surer one, and a 0 that turns out wrong has an infinite log loss.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    @classmethod
    def fit(cls, sample: Sample) -> Isotonic:
        """scikit-learn's ``IsotonicRegression`` of the outcome on the probability."""
        from sklearn.isotonic import IsotonicRegression

        least = 1 / (2 * len(sample))
        model = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
        model.fit(sample.score, sample.is_positive.astype(float))
        return cls(tuple(map(float, model.X_thresholds_)), tuple(map(float, model.y_thresholds_)))

    def apply(self, score: np.ndarray) -> np.ndarray:
        """(B,) recalibrated probabilities of the positive group."""
        return np.interp(score, self.x, self.y)

    def to_json(self) -> dict[str, Any]:
        return {"x": list(self.x), "y": list(self.y)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Isotonic:
        return cls(tuple(values["x"]), tuple(values["y"]))


@dataclass(frozen=True)
class ByFold:
    """A map, or prediction sets, of each fold; for the rows of all folds in their order.

    Args:
        sizes: images of each fold.
        fitted: what each fold has, with ``apply`` or with ``sets``.
    """

    sizes: tuple[int, ...]
    fitted: tuple[Any, ...]

    @property
    def method(self) -> str:
        return self.fitted[0].method

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(B, C) probabilities, or (B,) scores, each row as its own fold maps it."""
        return self._each("apply", values)

    def sets(self, probs: np.ndarray) -> np.ndarray:
        """(B, C) true where a class is in the image's set."""
        return self._each("sets", probs)

    def _each(self, name: str, values: np.ndarray) -> np.ndarray:
        parts = np.split(values, np.cumsum(self.sizes)[:-1])
        pairs = zip(self.fitted, parts, strict=True)
        return np.concatenate([getattr(one, name)(part) for one, part in pairs])


def _logits(probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probs, LEAST_PROBABILITY))
