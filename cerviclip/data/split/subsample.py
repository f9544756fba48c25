"""Base and new classes: train on one half of the classes, score the other half too.

``DATASET.SUBSAMPLE_CLASSES`` is CoOp's key: ``base`` takes the first half of the classes (rounded
up), ``new`` the others, ``all`` every one. Ours adds ``base_to_new``: train on base, and score the
new classes with the same model as the centre ``new``. The split is made before classes are taken
out, so no patient is in the training of base and in the test of new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cerviclip.data.split.patient_grouped import Split
from dassl.data.datasets.base_dataset import Datum
from dassl.errors import UserError

ALL, BASE, NEW, BASE_TO_NEW = "all", "base", "new", "base_to_new"


@dataclass(frozen=True)
class NewClasses:
    """The classes that a base-to-new run has not seen, as `Task.from_attributes` reads a data set.

    Args:
        classnames: in the order of their labels, which count from 0.
        items: their test images.
        positive_classes: class names that count as disease, of all classes.
        descriptions: prompt set -> class -> texts.
    """

    classnames: Sequence[str]
    items: Sequence[Datum]
    positive_classes: Sequence[str] = ()
    descriptions: dict[str, dict[str, list[str]]] = field(default_factory=dict)


def classes_of_half(names: Sequence[str], which: str) -> tuple[list[str], list[str]]:
    """The classes that are taken, and those that are set aside.

    Raises:
        UserError: no such half, or one with fewer than two classes.
    """
    if which == ALL:
        return list(names), []
    if which not in (BASE, NEW, BASE_TO_NEW):
        raise UserError(
            f'DATASET.SUBSAMPLE_CLASSES is "{which}"; it takes {ALL}, {BASE}, {NEW} or '
            f"{BASE_TO_NEW}"
        )
    if len(names) < 4:
        raise UserError(
            f"DATASET.SUBSAMPLE_CLASSES {which} halves the classes, and {len(names)} classes "
            f"({', '.join(names)}) do not make two halves of at least 2"
        )
    middle = (len(names) + 1) // 2
    base, new = list(names[:middle]), list(names[middle:])
    return (new, base) if which == NEW else (base, new)


def only_classes(split: Split, names: Sequence[str]) -> Split:
    """The images of some classes, labelled by their places in ``names``."""
    label = {name: c for c, name in enumerate(names)}
    return {
        part: [replace(i, label=label[i.classname]) for i in items if i.classname in label]
        for part, items in split.items()
    }
