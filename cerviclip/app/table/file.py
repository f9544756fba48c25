"""The CSV that ``cerviclip predict`` writes: a row per picture, and it goes on where it stopped."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from cerviclip.app.answer import Prediction
from cerviclip.app.pictures import picture_sha256
from cerviclip.app.table.columns import IDENTITY, Columns, as_text
from cerviclip.app.table.verdicts import Answered
from dassl.errors import UserError
from dassl.utils.files import atomic_write


class AnswerFile:
    """Rows of answers, appended batch by batch.

    Opening repairs what a stopped process has left: a half last line goes, and so do the rows of
    pictures with an error that are to be tried again. It also numbers the rows anew, as this
    command's PDF does, and gives a file of an older version the columns that it lacks.

    Args:
        path: of the CSV; made where it is not there.
        columns: of the model's answers.
        model: its identity; rows of another are never mixed with its own.
        asked: paths of the pictures that are asked for now, in the order of their numbers.

    Raises:
        UserError: the file is something else, or holds another model's answers.
    """

    def __init__(self, path: Path, columns: Columns, model: str, asked: Iterable[str]) -> None:
        self.path, self.columns, self.model = path, columns, model
        self.head = columns.names
        self._numbers = {picture: number for number, picture in enumerate(asked, 1)}
        place = self.head.index
        self._path, self._patient, self._error, self._model, self._number, self._unlike = map(
            place, ("path", "patient_id", "error", "model", "number", "out_of_distribution")
        )
        self._probabilities = [place(name) for name in columns.probabilities]
        self.done: set[str] = set()  # paths of pictures that have an answer
        try:
            self._repair()
        except OSError as error:
            raise UserError(f"--csv {path} cannot be written ({error.strerror})") from error
        self._handle: IO[str] | None = None

    def __enter__(self) -> AnswerFile:
        self._handle = open(self.path, "a", encoding="utf-8", newline="")
        return self

    def __exit__(self, *_: Any) -> None:
        assert self._handle is not None
        self._handle.close()

    def append(self, answers: Iterable[tuple[Prediction, str]]) -> None:
        """Write answers with their patients; they are on disk for a reader afterwards."""
        assert self._handle is not None
        writer = csv.writer(self._handle, lineterminator="\n")
        for answer, patient in answers:
            one = (self._numbers[answer.path], picture_sha256(answer.path))
            writer.writerow(map(as_text, self.columns.cells(answer, patient, self.model, *one)))
        self._handle.flush()

    def answers(self) -> Iterator[Answered]:
        """Patient, probabilities and likeness of every row that has an answer."""
        likeness = {"true": True, "false": False}
        for row in self._rows():
            if not row[self._error]:
                probs = [float(row[i]) for i in self._probabilities]
                yield row[self._patient], probs, likeness.get(row[self._unlike])

    def _repair(self) -> None:
        if self.path.is_dir():
            raise UserError(f"--csv {self.path} is a folder; name a file")
        rows = self._rows() if self.path.is_file() and self.path.stat().st_size else iter(())
        with atomic_write(self.path) as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(self.head)
            for row in rows:
                failed = bool(row[self._error])
                if failed and row[self._path] in self._numbers:
                    continue
                row[self._number] = str(self._numbers.get(row[self._path], ""))
                if not failed:
                    self.done.add(row[self._path])
                writer.writerow(row)

    def _rows(self) -> Iterator[list[str]]:
        """The whole rows behind the head; the last one is left out if its line has no end.

        Raises:
            UserError: the file is no such CSV, or another model's.
        """
        with open(self.path, encoding="utf-8", newline="") as handle:
            reader = csv.reader(handle)
            try:
                head = tuple(next(reader, ()))
                if head not in (self.head, self._older):
                    raise UserError(
                        f"{self.path} has the columns {', '.join(head)}, not those of this run's "
                        f"answers ({', '.join(self.head)}); give another --csv"
                    )
                whole = _ends_with_line(self.path)
                before: list[str] | None = None
                for row in reader:
                    if before is not None:
                        yield self._checked(before, reader.line_num - 1, len(head))
                    before = row
                if before is not None and whole:
                    yield self._checked(before, reader.line_num, len(head))
            except (csv.Error, UnicodeDecodeError) as error:
                raise UserError(
                    f"{self.path}, line {reader.line_num}, is no CSV ({error}); give another --csv"
                ) from error

    @property
    def _older(self) -> Sequence[str]:
        """The head of a version that knew no `IDENTITY`."""
        return self.head[: -len(IDENTITY)]

    def _checked(self, row: list[str], line: int, width: int) -> list[str]:
        if len(row) != width:
            raise UserError(
                f"{self.path}, line {line}, has {len(row)} columns and not {width}; "
                "take the line out, or give another --csv"
            )
        if row[self._model] != self.model:
            raise UserError(
                f"{self.path} holds answers of the model {row[self._model]}, and this run is "
                f"{self.model}; give another --csv"
            )
        return row + [""] * (len(self.head) - width)


def _ends_with_line(path: Path) -> bool:
    with open(path, "rb") as handle:
        with suppress(OSError):
            handle.seek(-1, os.SEEK_END)
        return handle.read() == b"\n"
