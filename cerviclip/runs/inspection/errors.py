"""The errors of which a run was surest, centre by centre. Needs no torch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cerviclip.data.centers.coarse import POSITIVE, is_coarse
from cerviclip.runs.predictions import Predictions

HEAD = ("center", "rank", "path", "patient_id", "label", "prediction", "p_prediction", "p_label")


@dataclass(frozen=True)
class ConfidentError:
    """A wrong answer.

    ``probability`` is what the model gave the class it named, ``of_truth`` what it gave the true
    one; of a centre that knows positive and negative alone both are of the groups.
    """

    center: str
    rank: int
    place: int  # of the image in the centre's predictions
    path: str
    patient: str
    label: str
    predicted: str
    probability: float
    of_truth: float


def confident_errors(
    predictions: Predictions, positive: Sequence[str] = ()
) -> list[ConfidentError]:
    """The wrong answers of one centre, the surest first; equal ones in the order of their paths.

    Args:
        predictions: of the centre.
        positive: class names of the positive group, for a centre that knows no classes.
    """
    p, rows = predictions, np.arange(len(predictions))
    if not len(p):
        return []
    probs, labels, names = p.probs, p.labels, list(p.classnames)
    if is_coarse(labels):
        group = np.isin(names, list(positive))
        probs = np.stack([probs[:, ~group].sum(axis=1), probs[:, group].sum(axis=1)], axis=1)
        said = group[p.predicted].astype(int)
        labels, names = (labels == POSITIVE).astype(int), ["negative", "positive"]
    else:
        said = p.predicted
    sure, of_truth = probs[rows, said], probs[rows, labels]
    wrong = np.flatnonzero(said != labels)
    order = sorted(wrong, key=lambda i: (-sure[i], p.paths[i]))
    return [
        ConfidentError(
            p.center, rank, int(i), p.paths[i], p.patient_ids[i],
            names[labels[i]], names[said[i]], float(sure[i]), float(of_truth[i]),
        )
        for rank, i in enumerate(order, start=1)
    ]  # fmt: skip


def write_errors(path: Path, errors: Sequence[ConfidentError]) -> None:
    """A CSV with one line per error, whole or not at all."""
    from dassl.utils.files import atomic_write

    with atomic_write(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(HEAD)
        for e in errors:
            probabilities = repr(e.probability), repr(e.of_truth)
            writer.writerow(
                [e.center, e.rank, e.path, e.patient, e.label, e.predicted, *probabilities]
            )
