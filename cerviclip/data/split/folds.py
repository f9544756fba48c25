"""k-fold splits by patient: each patient is in the test part of one fold.

``DATASET.FOLD`` names one fold: ``3/10`` is the third of ten, ``3/10@2`` the third of ten others
(repeated k-fold). The folds depend on the names of the images, on the number of folds, on the
repetition and on ``DATASET.SPLIT_SEED`` alone, never on shots or seeds. So the runs of all methods
can be paired and their out-of-fold predictions put together. Where a data set is made of centres
(``CentersAsDomains``), the folds are its centres: ``2/3`` leaves out the second of three.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cerviclip.data.split.patient_grouped import (
    Item,
    Split,
    hash_order,
    main_class,
    split_by_ratio,
    unit_of,
)
from dassl.errors import UserError

MOST_FOLDS = 100_000  # more than any data set here has patients


class Fold(NamedTuple):
    """Fold ``number`` of ``folds``, counted from 1; ``str(fold)`` is the text it was read from.

    ``repeat`` counts the ways of dealing into folds, from 1.
    """

    number: int
    folds: int
    repeat: int = 1

    def __str__(self) -> str:
        again = f"@{self.repeat}" if self.repeat > 1 else ""
        return f"{self.number}/{self.folds}{again}"

    def seed(self, split_seed: int) -> int | str:
        """What the dealing of this repetition depends on; that of the first on the split alone."""
        return split_seed if self.repeat == 1 else f"{split_seed} repeat {self.repeat}"


def parse_fold(text: str) -> Fold | None:
    """The fold that a text such as ``3/10`` or ``3/10@2`` names; None for "", no folds.

    Raises:
        UserError: the text has another form, there are fewer than two folds, or the number is not
            one of theirs.
    """
    if not text:
        return None
    found = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})(?:@([1-9]\d{0,8}))?", str(text), re.ASCII)
    if found is None:
        raise UserError(
            f"DATASET.FOLD is {text!r}; write NUMBER/FOLDS, both from 1, such as 3/10, or 3/10@2 "
            "for the second repetition"
        )
    fold = Fold(int(found[1]), int(found[2]), int(found[3] or 1))
    if fold.folds < 2:
        raise UserError(f"DATASET.FOLD is {text}; a split into folds has at least 2 of them")
    if fold.folds > MOST_FOLDS:
        raise UserError(f"DATASET.FOLD is {text}; a split has at most {MOST_FOLDS} folds")
    if fold.number > fold.folds:
        last = Fold(fold.folds, fold.folds)
        raise UserError(f"DATASET.FOLD is {text}; its folds are 1/{fold.folds} to {last}")
    return fold


def deal_into_folds(
    items: Sequence[Item], folds: int, seed: int | str, by: str = "patient"
) -> list[list[Item]]:
    """The test parts of all folds.

    Patients are dealt class by class, a patient with images of several classes with the class of
    most of them. A round gives each fold one patient, so that two folds differ by at most one
    patient in each class and in all. Within a round the patients with most images choose first, and
    each goes where most images of its classes are wanting.

    Args:
        items: all images.
        folds: how many, from 2.
        seed: another seed gives other folds.
        by: "patient", or "image" to let each image go its own way.

    Returns:
        Fold by fold its images, sorted by path.

    Raises:
        UserError: there are fewer patients than folds.
    """
    groups = _grouped(items, by)
    if len(groups) < folds:
        raise UserError(
            f"{len(groups)} {by}s cannot fill {folds} folds (DATASET.FOLD); ask for at most "
            f"{len(groups)} folds"
        )
    strata: dict[str, list[str]] = defaultdict(list)
    for key, members in groups.items():
        strata[main_class(members)].append(key)
    totals = Counter(item.classname for item in items)
    missing = [{name: n / folds for name, n in totals.items()} for _ in range(folds)]
    dealt: list[list[str]] = [[] for _ in range(folds)]
    for classname in sorted(strata):
        order = hash_order(strata[classname], "folds", folds, seed, classname)
        for start in range(0, len(order), folds):
            _deal_round(order[start : start + folds], groups, dealt, missing)
    return [
        sorted((item for key in keys for item in groups[key]), key=lambda i: i.path)
        for keys in dealt
    ]


def split_into_fold(
    items: Sequence[Item], fold: Fold, ratio: Sequence[float], seed: int, by: str = "patient"
) -> Split:
    """Split items so that a fold's images are the test; train and val share the rest.

    Args:
        items: all images.
        fold: which of how many.
        ratio: shares of train, val and test; only that of train to val counts.
        seed: another seed gives another split.
        by: "patient", or "image" to let each image go its own way.
    """
    train, val, _ = ratio
    if train + val <= 0:
        raise UserError(
            f"DATASET.SPLIT_RATIO {tuple(ratio)} gives train and val no share of what fold {fold} "
            "does not test; give one of them more than 0"
        )
    test = deal_into_folds(items, fold.folds, fold.seed(seed), by)[fold.number - 1]
    tested = {item.path for item in test}
    rest = [item for item in items if item.path not in tested]
    return {**split_by_ratio(rest, (train, val, 0), seed, by), "test": test}


def classes_short_of_patients(
    items: Sequence[Item], folds: int, by: str = "patient"
) -> dict[str, int]:
    """Classes that fewer patients have than there are folds, with the number of these patients.

    Some folds test no image of such a class.
    """
    counts = Counter(
        name for group in _grouped(items, by).values() for name in {i.classname for i in group}
    )
    return {name: n for name, n in sorted(counts.items()) if n < folds}


def _grouped(items: Sequence[Item], by: str) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[unit_of(item, by)].append(item)
    return groups


def _deal_round(
    keys: Sequence[str],
    groups: Mapping[str, Sequence[Item]],
    dealt: Sequence[list[str]],
    missing: Sequence[dict[str, float]],
) -> None:
    """Give at most one patient of a round to each fold.

    Where they are too few for all folds, those with fewest patients come first. In a full round
    that would give the same fold the smallest patient each time.

    Args:
        keys: the round's patients, at most as many as there are folds.
        groups: each patient's images.
        dealt: fold by fold the patients that it has; added to.
        missing: fold by fold and class by class the images that it wants; taken from.
    """
    free = set(range(len(dealt)))
    for key in sorted(keys, key=lambda key: -len(groups[key])):
        counts = Counter(item.classname for item in groups[key])

        def wish(number: int, counts: Counter[str] = counts) -> tuple[int, float, float, int]:
            wanted = missing[number]
            of_these = sum(n * wanted[name] for name, n in counts.items())
            patients = len(dealt[number]) if len(keys) < len(dealt) else 0
            return (patients, -of_these, -sum(wanted.values()), number)

        chosen = min(free, key=wish)
        free.remove(chosen)
        dealt[chosen].append(key)
        for name, n in counts.items():
            missing[chosen][name] -= n
