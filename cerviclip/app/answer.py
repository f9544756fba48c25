"""What a predictor says of one picture: ``Prediction`` and its parts. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RAW, TEMPERATURE, ISOTONIC = "raw", "temperature", "isotonic"
#: The conformal method whose set is `Prediction.conformal_set`: its sets are never empty.
USUAL_SET = "aps"


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold that was chosen at home, and what it did there and abroad.

    Attributes:
        name: ``sensitivity_95``, ``specificity_95``, ``youden`` or ``cost``.
        threshold: least positive-group probability (not recalibrated) that is called positive.
        called_positive: whether this picture is.
        centers: centre -> ``sensitivity specificity ppv npv`` and more, as results.json has them
            (percent, each with its interval). ``test`` is home.
        chosen_on: the images that the threshold was chosen on, such as ``val``.
    """

    name: str
    threshold: float
    called_positive: bool
    centers: Mapping[str, Any] = field(repr=False)
    chosen_on: str = "val"


@dataclass(frozen=True)
class Neighbour:
    """A training image that the model sees much like the picture.

    Attributes:
        path: relative to the data's root.
        label: its class.
        distance: 1 - cosine similarity of the features, from 0 to 2.
    """

    path: str
    label: str
    distance: float


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture.

    What a run cannot tell is None, and ``reasons`` says why under the attribute's name.

    Attributes:
        classnames: in the order of the probabilities.
        probabilities: one of each class, with the sum 1, as in the run's predictions.csv; () where
            there is an error.
        positive: the classes that count as disease; () where the run has none.
        path: the picture's file; "" for one in memory.
        error: why the picture could not be read, or that its probabilities are not finite; "" for
            one that has them.
        calibrated: the probabilities at the temperature that was fitted on val.
        calibrated_positive: the positive-group probability behind the isotonic map of val.
        operating_points: name -> the threshold of home and its figures everywhere.
        conformal_sets: method -> classes that the picture may be of (``lac``, ``aps``,
            ``class_conditional``).
        coverage: share of images whose set was to hold the true class, in 0-1.
        ood_score: how far the picture is from the training images; the greater, the less alike.
        ood_threshold: what 95 % of the val images do not exceed.
        neighbours: the training images that are most alike, the nearest first.
        reasons: attribute -> why it is None.
        note: which part of the file the answer is of, such as ``page 1 of 3``; "" for all of it.
    """

    classnames: tuple[str, ...]
    probabilities: tuple[float, ...] = ()
    positive: tuple[str, ...] = ()
    path: str = ""
    error: str = ""
    calibrated: tuple[float, ...] | None = None
    calibrated_positive: float | None = None
    operating_points: Mapping[str, OperatingPoint] | None = None
    conformal_sets: Mapping[str, tuple[str, ...]] | None = None
    coverage: float | None = None
    ood_score: float | None = None
    ood_threshold: float | None = None
    neighbours: tuple[Neighbour, ...] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def predicted(self) -> str:
        """The most probable class; "" where there is an error. A temperature never changes it."""
        return self.classnames[int(np.argmax(self.probabilities))] if self.probabilities else ""

    @property
    def probability(self) -> float | None:
        """Of the most probable class."""
        return max(self.probabilities, default=None)

    @property
    def by_class(self) -> dict[str, float]:
        """Class name -> probability; empty where there is an error."""
        return dict(zip(self.classnames, self.probabilities, strict=False))

    @property
    def positive_probability(self) -> float | None:
        """Sum over the positive classes; None where there are none, or an error."""
        if not self.positive or not self.probabilities:
            return None
        return float(sum(self.by_class[name] for name in self.positive))

    @property
    def calibration(self) -> str:
        """How ``best_by_class`` was calibrated: ``temperature``, or ``raw`` for not at all."""
        return RAW if self.calibrated is None else TEMPERATURE

    @property
    def best_by_class(self) -> dict[str, float]:
        """Class name -> calibrated probability; the raw one where the run was not calibrated."""
        if self.calibrated is None:
            return self.by_class
        return dict(zip(self.classnames, self.calibrated, strict=True))

    @property
    def positive_calibration(self) -> str:
        """How ``best_positive_probability`` was calibrated: ``isotonic`` or ``raw``."""
        return RAW if self.calibrated_positive is None else ISOTONIC

    @property
    def best_positive_probability(self) -> float | None:
        """Calibrated positive-group probability; the raw one where the run was not calibrated."""
        if self.calibrated_positive is None:
            return self.positive_probability
        return self.calibrated_positive

    @property
    def conformal_set(self) -> tuple[str, ...] | None:
        """The classes that the picture may be of; never empty (method ``aps``)."""
        return None if self.conformal_sets is None else self.conformal_sets.get(USUAL_SET)

    @property
    def out_of_distribution(self) -> bool | None:
        """Whether the picture is farther from the training images than 95 % of val."""
        if self.ood_score is None or self.ood_threshold is None:
            return None
        return self.ood_score > self.ood_threshold
