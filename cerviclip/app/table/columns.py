"""The columns of answers in a table: those of ``cerviclip predict --csv`` and of the page alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cerviclip.app.answer import Prediction

if TYPE_CHECKING:
    from cerviclip.app.predictor import Predictor

USE = "research only"
BETWEEN = ";"  # several classes in one cell
_FIRST = ("path", "patient_id", "prediction", "positive_probability")  # then p_<class> of each
_OOD = ("ood_score", "ood_threshold", "out_of_distribution")
_LAST = ("error", "note", "model", "use")
#: How a PDF names the pictures; behind all others, for who reads a table by positions.
IDENTITY = ("number", "sha256")
Cell = str | float | None


@dataclass(frozen=True)
class Columns:
    """Names of the columns, and an answer's cells in their order.

    A run's columns are always the same. What it cannot tell is an empty cell.

    Args:
        classnames: of the model, in the order of the probabilities.
        points: names of its operating points.
    """

    classnames: tuple[str, ...]
    points: tuple[str, ...] = ()

    @classmethod
    def of(cls, predictor: Predictor) -> Columns:
        return cls(predictor.classnames, tuple(predictor.knowledge.home.thresholds))

    @property
    def probabilities(self) -> tuple[str, ...]:
        return tuple(f"p_{name}" for name in self.classnames)

    @property
    def calibrated(self) -> tuple[str, ...]:
        return tuple(f"calibrated_{name}" for name in self.probabilities)

    @property
    def calls(self) -> tuple[str, ...]:
        """What each operating point calls the picture."""
        return tuple(f"called_{name}" for name in self.points)

    @property
    def names(self) -> tuple[str, ...]:
        """The head of the table."""
        more = ("calibrated_positive_probability", *self.calls, "conformal_set", *_OOD)
        return (
            *(*_FIRST, *self.probabilities, *self.calibrated),
            *(*more, "nearest_classes", *_LAST),
            *IDENTITY,
        )

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that hold numbers alone."""
        positive = ("positive_probability", "calibrated_positive_probability")
        return (*positive, *self.probabilities, *self.calibrated, "ood_score", "ood_threshold")

    def cells(
        self, answer: Prediction, patient: str, model: str, number: int | None, sha256: str
    ) -> list[Cell]:
        """An answer's row; None where there is nothing to say.

        Args:
            answer: of the model.
            patient: whom the file's name tells, or "".
            model: identity of the model.
            number: from 1, the picture's in a PDF of the same pictures; None for none.
            sha256: of the picture's file, in hex; "" where there is no file.
        """
        nothing: tuple[Cell, ...] = (None,) * len(self.classnames)
        points, unlike = answer.operating_points or {}, answer.out_of_distribution
        calls: list[Cell] = [
            ("positive" if points[name].called_positive else "negative") if name in points else None
            for name in self.points
        ]
        near = answer.neighbours
        return [
            *(answer.path, patient, answer.predicted, answer.positive_probability),
            *(answer.probabilities or nothing),
            *(answer.calibrated or nothing),
            *(answer.calibrated_positive, *calls, _joined(answer.conformal_set)),
            *(answer.ood_score, answer.ood_threshold),
            None if unlike is None else "true" if unlike else "false",
            None if near is None else _joined([one.label for one in near]),
            *(answer.error, answer.note, model, USE),
            *(number, sha256),
        ]


def _joined(names: Sequence[str] | None) -> str | None:
    return None if names is None else BETWEEN.join(names)


def as_text(cell: Cell) -> str:
    """A cell of a CSV; of a number its shortest exact form."""
    return "" if cell is None else cell if isinstance(cell, str) else repr(cell)
