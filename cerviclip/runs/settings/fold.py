"""One fold of a k-fold split, as ``DATASET.FOLD`` says it: ``3/10`` is the third of ten."""

from __future__ import annotations

import re
from typing import NamedTuple

from dassl.errors import UserError


class Fold(NamedTuple):
    """Fold ``number`` of ``folds``, counted from 1; ``str(fold)`` is the text it was read from."""

    number: int
    folds: int

    def __str__(self) -> str:
        return f"{self.number}/{self.folds}"


def parse_fold(text: str) -> Fold | None:
    """The fold that a text such as ``3/10`` names; None for "", a split without folds.

    Raises:
        UserError: the text has another form, there are fewer than two folds, or the number is not
            one of theirs.
    """
    if not text:
        return None
    found = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", str(text))
    if found is None:
        raise UserError(f"DATASET.FOLD is {text!r}; write NUMBER/FOLDS, both from 1, such as 3/10")
    fold = Fold(int(found[1]), int(found[2]))
    if fold.folds < 2:
        raise UserError(f"DATASET.FOLD is {text}; a split into folds has at least 2 of them")
    if fold.number > fold.folds:
        last = Fold(fold.folds, fold.folds)
        raise UserError(f"DATASET.FOLD is {text}; its folds are 1/{fold.folds} to {last}")
    return fold
