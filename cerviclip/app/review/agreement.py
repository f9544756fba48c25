"""How far two readers agree, over the pictures that both gave a class."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cerviclip.app.review.journal import Journal


@dataclass(frozen=True)
class Agreement:
    """Two readers.

    Attributes:
        both: pictures that both gave a class.
        same: those of them with the same class.
        kappa: Cohen's, -1 to 1; None where it is not defined.
        reason: why there is none.
        differing: picture, first reader's and second reader's class.
        counts: (C, C) pictures by the first reader's class (rows) and the second's.
    """

    readers: tuple[str, str]
    classnames: tuple[str, ...]
    both: int
    same: int
    kappa: float | None
    reason: str
    differing: list[tuple[str, str, str]]
    counts: np.ndarray

    def to_csv(self) -> str:
        """The pictures on which they differ."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["path", *self.readers])
        writer.writerows(self.differing)
        return out.getvalue()


def agreement(first: Journal, second: Journal, classnames: Sequence[str]) -> Agreement:
    """Cohen's kappa (Educ. Psychol. Meas. 20:37, 1960) and what lies behind it.

    Flagged pictures count for neither reader.
    """
    from sklearn.metrics import cohen_kappa_score, confusion_matrix

    one, two = ({d.image: d.label for d in journal if d.label} for journal in (first, second))
    shared = [image for image in one if image in two]
    a, b = [one[i] for i in shared], [two[i] for i in shared]
    names = list(classnames)
    counts = (
        confusion_matrix(a, b, labels=names) if shared else np.zeros((len(names),) * 2, np.int64)
    )
    kappa, reason = None, ""
    if not shared:
        reason = "no picture has a class of both readers"
    elif len({*a, *b}) < 2:
        reason = "both readers gave one and the same class to all pictures"
    else:
        kappa = float(cohen_kappa_score(a, b))
    differing = [(i, x, y) for i, x, y in zip(shared, a, b, strict=True) if x != y]
    readers = (first.reader, second.reader)
    same = len(shared) - len(differing)
    return Agreement(readers, tuple(names), len(shared), same, kappa, reason, differing, counts)
