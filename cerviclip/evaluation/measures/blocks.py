"""The blocks of results.json that follow from predictions: everything beside ``centers``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from cerviclip.data.centers.coarse import NEGATIVE, POSITIVE
from cerviclip.evaluation import report
from cerviclip.evaluation.groups_only import WHY, score_groups
from cerviclip.evaluation.measures.discrimination import MAX_FPR, discrimination
from cerviclip.evaluation.measures.gap import generalisation_gap
from cerviclip.evaluation.measures.home import Home
from cerviclip.evaluation.measures.patients import (
    by_patient,
    mixed_patients,
    why_not_by_patient,
)
from cerviclip.evaluation.measures.probabilities.calibration import calibration
from cerviclip.evaluation.measures.probabilities.conformal import METHODS, measure_sets
from cerviclip.evaluation.measures.probabilities.recalibration import ByFold
from cerviclip.evaluation.measures.sample import LEVEL, Sample, Settings
from cerviclip.evaluation.measures.shares import solve_proportions
from cerviclip.evaluation.measures.thresholds import operating_points
from cerviclip.evaluation.measures.thresholds.crossed import fit_folds
from cerviclip.evaluation.names import FEW

NO_VAL = "there are no val images to choose on"
SPLIT_PATIENTS = "patients have images in several folds, so none of them is out of fold as a whole"


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


def measure_folds(
    sample: Sample,
    sizes: Sequence[int],
    others: Sequence[Sample],
    centers: Mapping[str, Any],
    settings: Settings,
) -> dict[str, Any]:
    """The blocks of a cross-validation, with thresholds and the like chosen out of fold.

    Args:
        sample: the test images of all folds, fold after fold, each predicted by its own fold.
        sizes: how many images each fold has.
        others: of external centres, each image as often as there are folds that predicted it.
        centers: as of ``measure``.
        settings: what the user states.
    """
    whole, crossed = fit_folds(sample, sizes, settings)
    blocks = measure_with(whole, [sample, *others], centers, settings, crossed)
    rule, every = settings.patient_rule, [sample, *others]
    reason = why_not_by_patient(every, rule)
    fold = np.repeat(np.arange(len(sizes)), sizes)
    if (
        not reason
        and len(np.unique(np.stack([fold, sample.patients]), axis=1)[0]) > sample.n_patients
    ):
        reason = SPLIT_PATIENTS
    if reason:
        blocks["patient_level"] = {"rule": rule, "reason": reason}
    else:
        made = [by_patient(s, rule, settings.order) for s in every]
        patients = [len(np.unique(sample.patients[fold == i])) for i in range(len(sizes))]
        homes = fit_folds(made[0], patients, settings)
        blocks["patient_level"] = _level(homes[0], every, made, settings, homes[1])
    blocks["measured_with"] = settings.to_json() | {"level": LEVEL, "max_fpr": MAX_FPR}
    return blocks


def measure_with(
    home: Home,
    samples: Sequence[Sample],
    centers: Mapping[str, Any],
    settings: Settings,
    crossed: Home | None = None,
) -> dict[str, Any]:
    """Those of ``names.LEVEL_BLOCKS`` with thresholds, temperature and quantiles that are given.

    ``crossed`` is what the first sample has in place of ``home``: that of each of its folds.
    """
    homes = {s.center: home for s in samples}
    if crossed is not None:
        homes[samples[0].center] = crossed
    solve_proportions(samples, homes)
    return {
        "discrimination": _by_class(samples, lambda s: discrimination(s, settings)),
        "operating_points": _operating_points(home, homes, samples, settings),
        "calibration": _calibration(home, homes, samples),
        "conformal": _conformal(home, homes, samples, settings),
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


def _operating_points(
    home: Home, homes: Mapping[str, Home], samples: Sequence[Sample], settings: Settings
) -> dict[str, Any]:
    of = (settings.prevalences, settings.miss_cost)
    applied = {
        s.center: operating_points.apply(s, homes[s.center].thresholds, *of) for s in samples
    }
    points = {}
    for name in operating_points.POINTS:
        if name in home.thresholds:
            found = {c: entry[name] for c, entry in applied.items() if name in entry}
            points[name] = {"threshold": home.thresholds[name], "centers": found}
            points[name] |= _by_fold(homes, name)
        else:
            reason = home.no_binary or operating_points.NO_COST
            points[name] = {"threshold": None, "centers": {}, "reason": reason}
    block = {"chosen_on": home.chosen_on or None, "home": dict(home.counts), "points": points}
    return _with_remarks(block, home, home.no_binary)


def _by_fold(homes: Mapping[str, Home], name: str) -> dict[str, Any]:
    """The thresholds that the folds have from each other; nothing where there are no folds."""
    for home in homes.values():
        if isinstance(home.temperature, ByFold) and name in home.thresholds:
            sizes = home.temperature.sizes
            last = np.cumsum(sizes)[np.array(sizes) > 0] - 1
            return {"by_fold": home.thresholds[name][last].tolist()}
    return {}


def _calibration(
    home: Home, homes: Mapping[str, Home], samples: Sequence[Sample]
) -> dict[str, Any]:
    temperature = {"value": None, "at_limit": False, "reason": home.reason}
    isotonic = {"x": [], "y": [], "reason": home.no_binary}
    block = {
        "fitted_on": home.chosen_on or None,
        "temperature": cast(Any, home.temperature).to_json() if home.temperature else temperature,
        "isotonic": cast(Any, home.isotonic).to_json() if home.isotonic else isotonic,
        "centers": _by_class(samples, lambda s: calibration(s, homes[s.center])),
    }
    return _with_remarks(block, home, home.reason)


def _conformal(
    home: Home, homes: Mapping[str, Home], samples: Sequence[Sample], settings: Settings
) -> dict[str, Any]:
    names = samples[0].classnames if samples else ()
    sets: Any = home.conformal
    methods = {name: sets[name].to_json(names) for name in METHODS if sets}
    centers = _by_class(
        samples,
        lambda s: {
            name: measure_sets(s, cast(Any, sets))
            for name, sets in homes[s.center].conformal.items()
        },
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
    return _level(fitted, samples, made, settings)


def _level(
    home: Home,
    samples: Sequence[Sample],
    made: Sequence[Sample],
    settings: Settings,
    crossed: Home | None = None,
) -> dict[str, Any]:
    """The blocks of samples with one row a patient, ``made`` of samples with one an image."""
    centers = {s.center: _score(s) for s in made}
    mixed = {s.center: mixed_patients(s) for s in samples}
    block = {"rule": settings.patient_rule, "mixed_patients": mixed, "centers": centers}
    return block | measure_with(home, made, centers, settings, crossed)


def _score(sample: Sample) -> dict[str, Any]:
    ids = [str(number) for number in sample.patients]
    of = (sample.probs, ids, sample.classnames, sample.positive, FEW)
    if sample.groups_only:
        return score_groups(np.where(sample.is_positive, POSITIVE, NEGATIVE).tolist(), *of)
    return report.score(sample.labels.tolist(), *of)
