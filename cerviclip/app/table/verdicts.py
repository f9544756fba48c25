"""One verdict for a patient: the mean of the probabilities of the patient's pictures."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cerviclip.app.answer import Prediction
from cerviclip.app.table.columns import USE
from cerviclip.data.patients import STEM, compile_pattern, patient_in
from dassl.utils.files import atomic_write

RULE = "mean of the probabilities of the patient's images"


@dataclass(frozen=True)
class Verdict:
    """What a model says of one patient.

    Attributes:
        patient: the id in the file names.
        pictures: how many were read.
        answer: class and probabilities, as for one picture.
    """

    patient: str
    pictures: int
    answer: Prediction


class PatientFinder:
    """Patients by a run's pattern; "" for files that tell none.

    Args:
        pattern: as a run's ``DATASET.PATIENT_PATTERN``; "" or ``stem`` for none.
    """

    def __init__(self, pattern: str) -> None:
        self.regex = None if pattern in ("", STEM) else compile_pattern(pattern)

    def __call__(self, path: str) -> str:
        """The patient by the file's name, else by the folders above it.

        Args:
            path: below the folder that was asked for.
        """
        return "" if self.regex is None else patient_in(self.regex, path, above=0)


def verdicts(
    answers: Iterable[tuple[str, Sequence[float]]],
    classnames: Sequence[str],
    positive: Sequence[str],
) -> list[Verdict]:
    """A verdict for each patient, in the order in which they appear.

    Args:
        answers: patient and class probabilities of each picture; those without a patient are left
            out.
        classnames: in the order of the probabilities.
        positive: classes that count as disease.
    """
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for patient, probs in answers:
        if patient:
            sums[patient] = sums.get(patient, np.zeros(len(classnames))) + np.asarray(probs)
            counts[patient] = counts.get(patient, 0) + 1
    names, group = tuple(classnames), tuple(positive)
    return [
        Verdict(patient, counts[patient], Prediction(names, tuple(map(float, mean)), group))
        for patient, total in sums.items()
        for mean in [total / counts[patient]]
    ]


def write_verdicts(path: Path, found: Sequence[Verdict], classnames: Sequence[str]) -> None:
    """A CSV with a row per patient, whole or not at all."""
    with atomic_write(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        probs = [f"p_{name}" for name in classnames]
        head = ["patient_id", "pictures", "prediction", "positive_probability", *probs]
        writer.writerow([*head, "rule", "use"])
        for verdict in found:
            answer, positive = verdict.answer, verdict.answer.positive_probability
            writer.writerow(
                [verdict.patient, verdict.pictures, answer.predicted]
                + ["" if positive is None else repr(positive)]
                + [*map(repr, answer.probabilities), RULE, USE]
            )
