"""The blocks of results.json that follow from predictions: everything beside ``centers``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cerviclip.data.coarse import NEGATIVE, POSITIVE
from cerviclip.evaluation import report
from cerviclip.evaluation.groups_only import WHY, score_groups
from cerviclip.evaluation.measures import operating_points
from cerviclip.evaluation.measures.calibration import calibration
from cerviclip.evaluation.measures.conformal import METHODS, measure_sets
from cerviclip.evaluation.measures.discrimination import MAX_FPR, discrimination
from cerviclip.evaluation.measures.gap import generalisation_gap
from cerviclip.evaluation.measures.home import Home
from cerviclip.evaluation.measures.patients import (
    by_patient,
    mixed_patients,
    why_not_by_patient,
)
from cerviclip.evaluation.measures.sample import LEVEL, Sample, Settings
from cerviclip.evaluation.measures.shares import solve_proportions
from cerviclip.evaluation.names import FEW

NO_VAL = "there are no val images to choose on"


def measure(
    home: Sample | None,
    samples: Sequence[Sample],
    centers: Mapping[str, Any],
    settings: Settings,
    no_home: str = NO_VAL,
) -> dict[str, Any]:
    """All blocks, by image and by patient.

    Args:
        home: the sample that thresholds and the like are chosen on; None where there is none.
        samples: of every centre, ``test`` first.
        centers: the ``centers`` of results.json, which the generalisation gap is read from.
        settings: what the user states.
        no_home: why ``home`` is None.

    Returns:
        ``names.BLOCKS``, in the shape that docs/results_schema.md states.
    """
    fitted = Home.absent(no_home) if home is None else Home.fit(home, settings)
    blocks = measure_with(fitted, samples, centers, settings)
    blocks["patient_level"] = _patient_level(home, samples, settings, no_home)
    blocks["measured_with"] = settings.to_json() | {"level": LEVEL, "max_fpr": MAX_FPR}
    return blocks


def measure_with(
    home: Home, samples: Sequence[Sample], centers: Mapping[str, Any], settings: Settings
) -> dict[str, Any]:
    """Those of ``names.LEVEL_BLOCKS`` with thresholds, temperature and quantiles that are given."""
    solve_proportions(samples, home)
    return {
        "discrimination": _by_class(samples, lambda s: discrimination(s, settings)),
        "operating_points": _operating_points(home, samples, settings),
        "calibration": _calibration(home, samples),
        "conformal": _conformal(home, samples, settings),
        "generalisation_gap": generalisation_gap(centers),
    }


def _by_class(
    samples: Sequence[Sample], measure_one: Callable[[Sample], dict[str, Any]]
) -> dict[str, Any]:
    """A block by centre; where labels tell the positive group alone, the reason why it is empty."""
    return {s.center: {"reason": WHY} if s.groups_only else measure_one(s) for s in samples}


def _with_remarks(block: dict[str, Any], home: Home, reason: str) -> dict[str, Any]:
    remarks = {"note": home.note, "reason": reason}
    return block | {key: text for key, text in remarks.items() if text}


def _operating_points(home: Home, samples: Sequence[Sample], settings: Settings) -> dict[str, Any]:
    of = (home.thresholds, settings.prevalences, settings.miss_cost)
    applied = {s.center: operating_points.apply(s, *of) for s in samples}
    points = {}
    for name in operating_points.POINTS:
        if name in home.thresholds:
            found = {center: entry[name] for center, entry in applied.items()}
            points[name] = {"threshold": home.thresholds[name], "centers": found}
        else:
            reason = home.no_binary or operating_points.NO_COST
            points[name] = {"threshold": None, "centers": {}, "reason": reason}
    block = {"chosen_on": home.chosen_on or None, "home": dict(home.counts), "points": points}
    return _with_remarks(block, home, home.no_binary)


def _calibration(home: Home, samples: Sequence[Sample]) -> dict[str, Any]:
    temperature = {"value": None, "at_limit": False, "reason": home.reason}
    isotonic = {"x": [], "y": [], "reason": home.no_binary}
    block = {
        "fitted_on": home.chosen_on or None,
        "temperature": home.temperature.to_json() if home.temperature else temperature,
        "isotonic": home.isotonic.to_json() if home.isotonic else isotonic,
        "centers": _by_class(samples, lambda s: calibration(s, home)),
    }
    return _with_remarks(block, home, home.reason)


def _conformal(home: Home, samples: Sequence[Sample], settings: Settings) -> dict[str, Any]:
    names = samples[0].classnames if samples else ()
    methods = {name: home.conformal[name].to_json(names) for name in METHODS if home.conformal}
    centers = _by_class(
        samples, lambda s: {name: measure_sets(s, sets) for name, sets in home.conformal.items()}
    )
    block = {
        "calibrated_on": home.chosen_on or None,
        "coverage": settings.coverage,
        "methods": methods,
        "centers": centers,
    }
    return _with_remarks(block, home, home.reason)


def _patient_level(
    home: Sample | None, samples: Sequence[Sample], settings: Settings, no_home: str
) -> dict[str, Any]:
    rule = settings.patient_rule
    every = [*samples, *([home] if home is not None else [])]
    reason = why_not_by_patient(every, rule)
    if reason:
        return {"rule": rule, "reason": reason}
    made = [by_patient(s, rule, settings.order) for s in samples]
    own = None if home is None or not len(home) else by_patient(home, rule, settings.order)
    fitted = Home.absent(no_home) if own is None else Home.fit(own, settings)
    centers = {s.center: _score(s) for s in made}
    mixed = {s.center: mixed_patients(s) for s in samples}
    block = {"rule": rule, "mixed_patients": mixed, "centers": centers}
    return block | measure_with(fitted, made, centers, settings)


def _score(sample: Sample) -> dict[str, Any]:
    ids = [str(number) for number in sample.patients]
    of = (sample.probs, ids, sample.classnames, sample.positive, FEW)
    if sample.groups_only:
        return score_groups(np.where(sample.is_positive, POSITIVE, NEGATIVE).tolist(), *of)
    return report.score(sample.labels.tolist(), *of)
