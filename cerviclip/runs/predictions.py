"""What a model says of one centre's images, and predictions.csv, which holds it. Needs no torch."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cerviclip.data.centers import coarse
from cerviclip.data.centers.coarse import label_name
from cerviclip.evaluation.names import SUM_TOLERANCE
from dassl.errors import UserError

PREDICTIONS = "predictions.csv"
VAL_PREDICTIONS = "val_predictions.csv"  # what thresholds are chosen on; of the same form
NEW_PREDICTIONS = "predictions_new.csv"  # of the classes that a base-to-new run has not seen
HEAD = ("center", "path", "patient_id", "label", "prediction")  # then p_<class> of each class


@dataclass
class Predictions:
    """What a model says of one centre's images, in the order of the images."""

    center: str
    paths: list[str]  # relative to the data's root where they lie in it
    patient_ids: list[str]
    labels: np.ndarray  # (B,); negative where a centre knows no classes (`data.centers.coarse`)
    probs: np.ndarray  # (B, C) float64
    classnames: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> np.ndarray:
        """(B,) the most probable class of each image."""
        return self.probs.argmax(axis=1) if len(self) else np.zeros(0, dtype=np.int64)

    @property
    def known_patients(self) -> list[str]:
        """Patient ids; "" throughout where all of them only repeat the files' names.

        Then no patient is known. One id that equals its file's name may still be a patient's.
        """
        stems = [Path(path).stem for path in self.paths]
        return [""] * len(self) if self.patient_ids == stems else self.patient_ids


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of one centre's images that were made in parts, as by the models of several
    folds."""
    first = parts[0]
    return Predictions(
        center=first.center,
        paths=[path for part in parts for path in part.paths],
        patient_ids=[patient for part in parts for patient in part.patient_ids],
        labels=np.concatenate([part.labels for part in parts]),
        probs=np.concatenate([part.probs for part in parts]),
        classnames=first.classnames,
    )


def write_predictions(
    folder: str | Path,
    predictions: Sequence[Predictions],
    classnames: Sequence[str],
    name: str = PREDICTIONS,
) -> Path:
    """predictions.csv, or ``name``: one line per image of every centre."""
    from dassl.utils.files import atomic_write  # brings torch

    path = Path(folder) / name
    with atomic_write(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        quoting = csv.writer(handle, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow([*HEAD, *(f"p_{c}" for c in classnames)])
        for p in predictions:
            for i, k in enumerate(p.predicted):
                names = [p.center, p.paths[i], p.patient_ids[i]]
                # A carriage return ends a line for the reader; Python before 3.13 does not quote it
                (quoting if any("\r" in name for name in names) else writer).writerow(
                    [*names, label_name(p.labels[i], classnames), classnames[k]]
                    # repr of a float is its shortest exact form: scores can be recomputed
                    + [repr(float(x)) for x in p.probs[i]]
                )
    return path


def read_predictions(folder: str | Path) -> list[Predictions]:
    """The centres of a predictions.csv in the file's order; those without images are not in it.

    Args:
        folder: a run's, or the file itself.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file is broken off or is no predictions.csv.
    """
    path = Path(folder)
    path = path if path.suffix == ".csv" else path / PREDICTIONS
    by_center: dict[str, list[list[str]]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            reader = csv.reader(handle)
            head = next(reader)
            classnames = tuple(column.removeprefix("p_") for column in head[len(HEAD) :])
            if tuple(head[: len(HEAD)]) != HEAD or not classnames:
                raise ValueError(f"its columns are {', '.join(head)}")
            if len(set(classnames)) < len(classnames):
                raise ValueError("a class has two columns")
            for row in reader:
                if len(row) != len(head):
                    raise ValueError(f"line {reader.line_num} has {len(row)} columns")
                by_center.setdefault(row[0], []).append(row)
        _check_last_line(path)
        return [_of_rows(center, rows, classnames) for center, rows in by_center.items()]
    except FileNotFoundError:
        raise
    except (StopIteration, ValueError, KeyError, csv.Error, OSError) as error:
        raise UserError(f"{path} is not a run's predictions ({error!r}); run it again") from error


def _of_rows(center: str, rows: list[list[str]], classnames: tuple[str, ...]) -> Predictions:
    number = {name: label for label, name in coarse.NAMES.items()}
    number |= {name: c for c, name in enumerate(classnames)}
    predictions = Predictions(
        center=center,
        paths=[row[1] for row in rows],
        patient_ids=[row[2] for row in rows],
        labels=np.array([number[row[3]] for row in rows], dtype=np.int64),
        probs=np.array([row[len(HEAD) :] for row in rows], dtype=np.float64),
        classnames=classnames,
    )
    _check_probabilities(predictions)
    stated = np.array([number[row[4]] for row in rows], dtype=np.int64)
    if (wrong := np.flatnonzero(stated != predictions.predicted)).size:
        path = predictions.paths[wrong[0]]
        raise ValueError(f"the prediction for {path} is not its most probable class")
    return predictions


def _check_probabilities(predictions: Predictions) -> None:
    """Refuse what no model says: every score, threshold and interval would follow from it."""
    probs = predictions.probs
    with np.errstate(invalid="ignore"):
        wrong = ~np.isfinite(probs).all(axis=1) | (probs < 0).any(axis=1)
        wrong |= ~(np.abs(probs.sum(axis=1) - 1) < SUM_TOLERANCE)
    if wrong.any():
        path = predictions.paths[int(wrong.argmax())]
        raise ValueError(f"the numbers for {path} are not probabilities that add up to 1")


def _check_last_line(path: Path) -> None:
    """A file that was cut within its last number has all columns, but no end of line."""
    with open(path, "rb") as handle:
        handle.seek(-1, os.SEEK_END)
        if handle.read() != b"\n":
            raise ValueError("its last line is cut")


def relative_path(path: str, *roots: str) -> str:
    """``path`` seen from the first of ``roots`` that holds it, with forward slashes."""
    for root in roots:
        relative = os.path.relpath(path, root) if root else ".."
        if not relative.startswith(".."):
            return Path(relative).as_posix()
    return Path(path).as_posix()
