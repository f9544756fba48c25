"""``Home``: everything that is chosen or fitted on val, and carried unchanged to every centre.

It is made of one sample, so no threshold can look at test data. ``from_results`` gives it back from
a run's results.json; that is how a predictor has the thresholds of its run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cerviclip.evaluation.measures.probabilities.conformal import METHODS, ConformalSets
from cerviclip.evaluation.measures.probabilities.recalibration import ByFold, Isotonic, Temperature
from cerviclip.evaluation.measures.sample import Sample, Settings
from cerviclip.evaluation.measures.thresholds import operating_points
from cerviclip.evaluation.names import EACH_IMAGE


@dataclass(frozen=True)
class Home:
    """What a centre carries to others.

    Args:
        chosen_on: the sample's name, such as ``val``; "" where there was none.
        thresholds: operating point -> least positive-group probability that is called positive.
            Where each fold has its own (``crossed.fit_folds``), (B,) thresholds and maps by fold.
        temperature: for all classes' probabilities; None where there was nothing to fit it on.
        isotonic: for the positive-group probability; None likewise.
        conformal: method -> its sets; empty likewise.
        counts: images and patients it rests on.
        note: what a reader must know of it, such as that it rests on few patients.
        reason: why nothing was chosen at all; "" if something was.
        no_binary: why no threshold and no isotonic map was; "" if they were.
    """

    chosen_on: str = ""
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    temperature: Temperature | ByFold | None = None
    isotonic: Isotonic | ByFold | None = None
    conformal: Mapping[str, ConformalSets | ByFold] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    reason: str = ""
    no_binary: str = ""

    @property
    def patients_known(self) -> bool:
        """Whether ``counts`` are of patients; else each image counts as one."""
        return EACH_IMAGE not in self.note

    @classmethod
    def fit(cls, sample: Sample, settings: Settings) -> Home:
        """Choose and fit all that can be on one sample."""
        if not len(sample):
            return cls.absent(f"{sample.center} has no images")
        binary = not sample.no_binary
        return cls(
            chosen_on=sample.center,
            thresholds=operating_points.choose(sample, settings.miss_cost),
            temperature=Temperature.fit(sample),
            isotonic=Isotonic.fit(sample) if binary else None,
            conformal={m: ConformalSets.fit(sample, m, settings.coverage) for m in METHODS},
            counts=sample.counts(),
            note=sample.note(),
            no_binary=_of_home(sample),
        )

    @classmethod
    def absent(cls, reason: str) -> Home:
        """Nothing was chosen, and why."""
        return cls(reason=reason, no_binary=reason)

    @classmethod
    def from_results(cls, blocks: Mapping[str, Any], classnames: tuple[str, ...]) -> Home:
        """From results.json, or from its ``patient_level``; ``classnames`` in label order.

        A run that was measured before there were such blocks gives an absent ``Home``.
        """
        points, calibration = blocks.get("operating_points"), blocks.get("calibration")
        sets = blocks.get("conformal")
        if not points or not calibration or not sets:
            return cls.absent("the run's results.json has no operating points; score it again")
        temperature, isotonic = calibration["temperature"], calibration["isotonic"]
        return cls(
            chosen_on=calibration["fitted_on"] or "",
            thresholds={
                name: point["threshold"]
                for name, point in points["points"].items()
                if point["threshold"] is not None
            },
            temperature=Temperature.from_json(temperature) if temperature["value"] else None,
            isotonic=Isotonic.from_json(isotonic) if isotonic["x"] else None,
            conformal={
                name: ConformalSets.from_json(name, values, classnames)
                for name, values in sets["methods"].items()
            },
            counts=points["home"],
            note=points.get("note", ""),
            reason=calibration.get("reason", ""),
            no_binary=points.get("reason", ""),
        )


def _of_home(sample: Sample) -> str:
    """Why the sample gives no thresholds, in words that also make sense beside another centre."""
    return sample.no_group or sample.no_binary.replace(" here", f" in {sample.center}")
