"""Labels as a CSV that ``FolderDataset`` trains on (``DATASET.FILE``)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cerviclip.app.review.journal import Journal

COLUMNS = ("path", "label", "patient", "reader", "action", "suggested", "model", "time")


@dataclass(frozen=True)
class Export:
    """A file to train on, and what is not in it.

    Attributes:
        text: the CSV.
        rows: pictures in it.
        flagged: pictures that a reader put aside.
        differing: pictures to which readers gave different classes.
    """

    text: str
    rows: int
    flagged: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)


def export(journals: Sequence[Journal], patient_of: Callable[[str], str] = lambda _: "") -> Export:
    """One row per picture with one class.

    A picture that any of the readers put aside, or to which two gave different classes, is left out
    and named. One reader's class is enough where the others have not decided.

    Args:
        journals: of one reader or of several.
        patient_of: patient of a path; "" for none, and the column is left out if there is none.
    """
    by_image: dict[str, list[tuple[str, Sequence[str]]]] = {}
    flagged: dict[str, None] = {}
    for journal in journals:
        for d in journal:
            if not d.label:
                flagged[d.image] = None
                continue
            said = (journal.reader, d.action, d.suggested, d.model, d.time)
            by_image.setdefault(d.image, []).append((d.label, said))
    differing = [i for i, found in by_image.items() if len({label for label, _ in found}) > 1]
    left_out = {*flagged, *differing}
    rows = []
    for image, found in by_image.items():
        if image not in left_out:
            cells = zip(*(said for _, said in found), strict=True)
            rows.append([image, found[0][0], patient_of(image), *map("|".join, cells)])
    return Export(_as_csv(rows), len(rows), list(flagged), differing)


def _as_csv(rows: list[list[str]]) -> str:
    known = any(row[2] for row in rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in [list(COLUMNS), *rows]:
        writer.writerow(row if known else row[:2] + row[3:])
    return out.getvalue()
