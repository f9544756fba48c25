"""The measures of a run: from its predictions, or again from its files. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.evaluation.measures import Sample, Settings, measure
from cerviclip.evaluation.measures.blocks import NO_VAL
from cerviclip.runs.predictions import (
    VAL_PREDICTIONS,
    Predictions,
    read_predictions,
)
from cerviclip.runs.results_json import NEW, finite_or_none, read_measured
from dassl.errors import MissingFileError

NO_VAL_FILE = f"the run has no {VAL_PREDICTIONS}: it has no val images, or an older version made it"
VAL_IS_TESTED = "TEST.SPLIT is val: thresholds would be tested on the images they are chosen on"


def settings_of(cfg: Any, dataset: Any) -> Settings:
    """What the configuration states, and what the data set declares of its classes."""
    test = cfg.TEST
    return Settings(
        patient_rule=test.PATIENT_RULE,
        miss_cost=float(test.MISS_COST),
        prevalences=tuple(map(float, test.PREVALENCES)),
        coverage=float(test.COVERAGE),
        order=tuple(map(str, getattr(dataset, "class_order", None) or ())),
        levels=_levels(getattr(dataset, "levels", None)),
    )


def _levels(declared: Any) -> dict[str, list[str]]:
    """A tree of classes; a data set written elsewhere may use the name for something else."""
    if not isinstance(declared, Mapping):
        return {}
    found = {str(name): nodes for name, nodes in declared.items()}
    nodes_are_texts = all(
        isinstance(nodes, (list, tuple)) and all(isinstance(node, str) for node in nodes)
        for nodes in found.values()
    )
    one_depth = nodes_are_texts and len({len(nodes) for nodes in found.values()}) == 1
    return {name: list(nodes) for name, nodes in found.items()} if one_depth else {}


def sample_of(predictions: Predictions, positive: Sequence[str]) -> Sample:
    """One centre's predictions as the measures take them."""
    p = predictions
    return Sample.of(p.center, p.labels, p.probs, p.known_patients, p.classnames, positive)


def measure_predictions(
    val: Predictions | None,
    predictions: Sequence[Predictions],
    positive: Sequence[str],
    centers: Mapping[str, Any],
    settings: Settings,
    no_val: str = NO_VAL,
) -> dict[str, Any]:
    """The blocks of results.json (``measures.BLOCKS``).

    Args:
        val: what thresholds are chosen on; None or empty if there are no such images.
        predictions: of every centre.
        positive: class names of the positive group.
        centers: the ``centers`` of results.json.
        settings: ``settings_of`` the run.
        no_val: why there is no ``val``.
    """
    home = sample_of(val, positive) if val is not None and len(val) else None
    samples = [sample_of(p, positive) for p in predictions]
    return finite_or_none(measure(home, samples, centers, settings, no_val))


def measure_files(folder: str | Path, settings: Settings | None = None) -> dict[str, Any]:
    """The blocks of a run again, from its predictions and results.json alone.

    Args:
        folder: the run's, or that of an evaluation.
        settings: other ones than the run's, such as another cost.

    Raises:
        MissingFileError: it holds no results.json or no predictions.csv.
    """
    folder, results = Path(folder), read_measured(folder)
    if results is None:
        raise MissingFileError(f"no run in {folder}: it holds no results.json")
    if settings is None:
        settings = Settings.from_json(results["measured_with"] or {})
    predictions = read_predictions(folder)
    val = read_val(folder)
    reason = VAL_IS_TESTED if [p.center for p in predictions] == ["val"] else NO_VAL_FILE
    positive = results["positive_classes"]
    # A base-to-new run is measured before its new classes are scored.
    own = {p.center for p in predictions}
    centers = {k: v for k, v in results["centers"].items() if k != NEW or k in own}
    return measure_predictions(val, predictions, positive, centers, settings, reason)


def read_val(folder: str | Path) -> Predictions | None:
    """The predictions of a run's val images; None where it saved none."""
    try:
        found = read_predictions(Path(folder) / VAL_PREDICTIONS)
    except FileNotFoundError:
        return None
    return found[0] if found else None
