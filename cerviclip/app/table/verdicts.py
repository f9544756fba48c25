"""One verdict for a patient: the mean of the probabilities of the patient's pictures."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cerviclip.app.answer import Prediction
from cerviclip.app.table.columns import USE
from cerviclip.counted import counted
from cerviclip.data.patients import STEM, compile_pattern, patient_in
from dassl.utils.files import atomic_write

if TYPE_CHECKING:
    from cerviclip.app.web.texts import Texts

#: Of one picture: the patient, the class probabilities, whether it is unlike the training images.
Answered = tuple[str, Sequence[float], bool | None]
RULE = "mean of the probabilities of the patient's images"


@dataclass(frozen=True)
class Verdict:
    """What a model says of one patient.

    Attributes:
        patient: the id in the file names.
        pictures: how many were read.
        answer: class and probabilities, as for one picture.
        unlike: how many of the pictures are unlike the training images; None where the run cannot
            say.
    """

    patient: str
    pictures: int
    answer: Prediction
    unlike: int | None = None


@dataclass(frozen=True)
class Verdicts:
    """What a model says of patients.

    Attributes:
        patients: a verdict each, in the order in which they appear.
        left_out: how many pictures belong to no patient.
    """

    patients: list[Verdict]
    left_out: int = 0

    def left_out_line(self, csv: Path | None = None) -> str:
        """That pictures belong to no patient, in words; "" where all do, or where none does.

        Args:
            csv: where each picture has a row.
        """
        if not self.patients or not self.left_out:
            return ""
        number = counted(self.left_out, "image", "belong")
        where = "" if csv is None else f" (patient_id is empty in {csv})"
        return f"{number} to no patient and {'is' if self.left_out == 1 else 'are'} left out{where}"


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
    answers: Iterable[Answered],
    classnames: Sequence[str],
    positive: Sequence[str],
) -> Verdicts:
    """A verdict for each patient, in the order in which they appear.

    Args:
        answers: of each picture; those without a patient are counted and left out.
        classnames: in the order of the probabilities.
        positive: classes that count as disease.
    """
    sums: dict[str, np.ndarray] = {}
    counts, unlike = Counter[str](), Counter[str]()
    left_out = 0
    silent: set[str] = set()  # patients with a picture of which the run cannot say
    for patient, probs, is_unlike in answers:
        if patient:
            sums[patient] = sums.get(patient, np.zeros(len(classnames))) + np.asarray(probs)
            counts[patient] += 1
            unlike[patient] += bool(is_unlike)
            silent |= {patient} if is_unlike is None else set()
        else:
            left_out += 1
    names, group = tuple(classnames), tuple(positive)
    found = [
        Verdict(
            patient,
            counts[patient],
            Prediction(names, tuple(map(float, total / counts[patient])), group),
            None if patient in silent else unlike[patient],
        )
        for patient, total in sums.items()
    ]
    return Verdicts(found, left_out)


def caution(t: Texts, verdict: Verdict) -> str:
    """That some of a patient's pictures are unlike the training images, in words; "" for none."""
    if not verdict.unlike:
        return ""
    return t("ood_patient", n=verdict.unlike, total=verdict.pictures)


def write_verdicts(path: Path, found: Sequence[Verdict], classnames: Sequence[str]) -> None:
    """A CSV with a row per patient, whole or not at all."""
    with atomic_write(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        probs = [f"p_{name}" for name in classnames]
        head = ["patient_id", "pictures", "prediction", "positive_probability", *probs]
        writer.writerow([*head, "rule", "use", "pictures_out_of_distribution"])
        for verdict in found:
            answer, positive = verdict.answer, verdict.answer.positive_probability
            writer.writerow(
                [verdict.patient, verdict.pictures, answer.predicted]
                + ["" if positive is None else repr(positive)]
                + [*map(repr, answer.probabilities), RULE, USE]
                + ["" if verdict.unlike is None else verdict.unlike]
            )
