"""The scores of each subgroup of a run's images: of age bands, devices, or any column of a CSV.

A subgroup has the metrics of its centre with intervals of its own patients, and what the thresholds
do there that val chose for everybody. Few patients are said so in its ``note``. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cerviclip.data.centers.coarse import is_coarse
from cerviclip.evaluation import report
from cerviclip.evaluation.groups_only import score_groups
from cerviclip.evaluation.measures import Home, Sample
from cerviclip.evaluation.measures.thresholds import operating_points
from cerviclip.evaluation.names import OVERALL
from cerviclip.runs.predictions import Predictions
from cerviclip.runs.results_json import finite_or_none
from cerviclip.runs.subgroups import Subgroups
from dassl.errors import UserError

KEPT = ("n_images", "n_patients", *OVERALL, "binary", "counts", "note")
_RATES = ("sensitivity", "specificity", "ppv", "npv")


def measure_subgroups(
    predictions: Sequence[Predictions],
    positive: Sequence[str],
    subgroups: Sequence[Subgroups],
    blocks: Mapping[str, Any],
    intervals: str,
) -> dict[str, Any]:
    """The ``subgroups`` of results.json: column -> centre -> group -> its scores.

    Args:
        predictions: of every centre.
        positive: class names of the positive group.
        subgroups: files that were read.
        blocks: of results.json, which thresholds are taken from.
        intervals: ``TEST.INTERVALS``.

    Raises:
        UserError: a file knows none of the images, or two name one column.
    """
    found: dict[str, Any] = {}
    for column in subgroups:
        if column.column in found:
            raise UserError(f"TEST.SUBGROUPS names two columns {column.column!r}; rename one")
        groups = {p.center: column.of_images(p.center, p.paths, p.patient_ids) for p in predictions}
        if not any(set(names) & set(column.values.values()) for names in groups.values()):
            example = next((p.paths[0] for p in predictions if len(p)), "none")
            raise UserError(
                f"{column.path} knows none of the tested images by its column {column.key} "
                f"(such as {example}); give the paths or patient ids of predictions.csv"
            )
        found[column.column] = {
            p.center: {
                name: _entry(p, groups[p.center] == name, positive, blocks, intervals)
                for name in column.names
                if (groups[p.center] == name).any()
            }
            for p in predictions
        }
    return finite_or_none(found)


def _entry(
    p: Predictions,
    chosen: np.ndarray,
    positive: Sequence[str],
    blocks: Mapping[str, Any],
    intervals: str,
) -> dict[str, Any]:
    known, numbers = p.known_patients, np.flatnonzero(chosen)
    labels, probs, ids = p.labels[chosen], p.probs[chosen], [known[i] for i in numbers]
    score = score_groups if is_coarse(labels) else report.score
    scored = score(labels.tolist(), probs, ids, p.classnames, positive, intervals)
    entry = {key: scored[key] for key in KEPT if key in scored}
    home = Home.from_results(blocks, p.classnames)
    sample = Sample.of(p.center, labels, probs, ids, p.classnames, positive)
    points = operating_points.apply(sample, home.thresholds)
    entry["points"] = {
        name: {rate: found[rate] for rate in _RATES if rate in found}
        for name, found in points.items()
    }
    return entry
