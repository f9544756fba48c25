"""Uploaded pictures to answers, answers to a table. Pictures stay in memory; none goes to disk."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image

from cerviclip.app.pictures import picture_sha256
from cerviclip.app.predictor import Prediction, Predictor
from cerviclip.app.review.queue import uncertainty
from cerviclip.app.table.columns import IDENTITY, Columns
from cerviclip.app.table.verdicts import PatientFinder
from dassl.utils.deep_images import open_image
from dassl.utils.images import why_unreadable

if TYPE_CHECKING:
    import pandas

UNCERTAINTY = "uncertainty"


def predict_bytes(
    predictor: Predictor,
    files: Iterable[tuple[str, bytes]],
    on_read: Callable[[Prediction | None], None] | None = None,
) -> list[Prediction]:
    """An answer for each uploaded file, in their order; a broken one has an ``error``.

    Args:
        predictor: of the run.
        files: name and content. Two may have the same name.
        on_read: called once for each file.
    """
    names: list[str] = []
    broken: dict[int, str] = {}

    def opened() -> Iterator[Image.Image]:
        for number, (name, content) in enumerate(files):
            names.append(name)
            try:
                image = open_image(io.BytesIO(content))
            except Exception as error:  # Pillow's plug-ins raise anything
                broken[number] = why_unreadable(error)
                if on_read is not None:
                    on_read(None)
            else:
                yield image

    answers = iter(list(predictor.predict_iter(opened(), on_read)))
    return [
        Prediction(predictor.classnames, (), predictor.task.positive, name, broken[number])
        if number in broken
        else replace(next(answers), path=name)
        for number, name in enumerate(names)
    ]


def answer_table(
    answers: Sequence[Prediction],
    predictor: Predictor,
    model: str,
    pattern: str = "",
    contents: Sequence[bytes] = (),
) -> pandas.DataFrame:
    """A row per picture, in the columns of ``cerviclip predict --csv`` and `UNCERTAINTY`.

    The last two columns say how the page's PDF names the picture.

    Args:
        answers: in the order of the rows.
        predictor: that gave them.
        model: its identity.
        pattern: the run's ``DATASET.PATIENT_PATTERN``.
        contents: of each picture's file; () where they are not at hand.
    """
    import pandas

    patient_of, columns = PatientFinder(pattern), Columns.of(predictor)
    rows = []
    for i, one in enumerate(answers):
        unsure = uncertainty(one.probabilities) if one.probabilities else None
        sha256 = picture_sha256(contents[i]) if contents else ""
        cells = columns.cells(one, patient_of(one.path), model, i + 1, sha256)
        rows.append([*cells, unsure])
    table = pandas.DataFrame(rows, columns=[*columns.names, UNCERTAINTY])
    first = [name for name in table if name not in IDENTITY]
    table = table[[*first, *IDENTITY]]
    return table.astype(dict.fromkeys([*columns.numbers, UNCERTAINTY], float))


def filtered(
    table: pandas.DataFrame,
    classes: Sequence[str] = (),
    least_uncertain: float = 0.0,
    text: str = "",
    errors: bool = True,
) -> pandas.DataFrame:
    """The rows that a reader asks for, the least certain first and unreadable files last.

    Args:
        table: of `answer_table`.
        classes: predicted classes to keep; () for all.
        least_uncertain: keep rows of at least this uncertainty.
        text: part of the path, whatever the case of the letters.
        errors: keep files that could not be read.
    """
    failed = table["error"] != ""
    keep = table[UNCERTAINTY].fillna(-1) >= least_uncertain
    if classes:
        keep &= table["prediction"].isin(list(classes))
    keep = (keep & ~failed) | (failed & errors)
    if text:
        keep &= table["path"].str.lower().str.contains(text.lower(), regex=False)
    found = table[keep]
    return found.sort_values(UNCERTAINTY, ascending=False, kind="stable", na_position="last")


def thumbnail(content: bytes, predictor: Predictor) -> Image.Image | None:
    """A picture as the model's reader sees it, 8-bit RGB; None where it cannot be read."""
    from cerviclip.app.pictures import open_picture

    try:
        return open_picture(open_image(io.BytesIO(content)), predictor.reading.windows)
    except Exception:  # Pillow's plug-ins raise anything
        return None
