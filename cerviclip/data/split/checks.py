"""What is looked at in every split, however it was made, before anything is trained on it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cerviclip.data.split.patient_grouped import PARTS, Item
from dassl.errors import UserError

Parts = Mapping[str, Sequence[Item]]


def check_filled(name: str, split: Parts, ratio: Sequence[float] | None, shots: int) -> None:
    """Refuse a split with nothing to test or train on.

    Args:
        name: of the data set.
        split: who is where.
        ratio: shares that it was made by; None where it was found.
        shots: ``DATASET.NUM_SHOTS``, 0 for a run that trains nothing.
    """
    everything = [item for part in PARTS for item in split[part]]
    patients = {item.patient for item in everything}
    if not split["test"]:
        if len(patients) == 1 and len(everything) > 1:
            why = f"all {len(everything)} images are of patient {next(iter(patients))}"
        elif ratio is not None and ratio[2] == 0:
            why = f"DATASET.SPLIT_RATIO {tuple(ratio)} leaves none"
        elif ratio is not None:
            classes = len({item.classname for item in everything})
            why = f"its {len(patients)} patients are all needed for training, one for each class"
            if len(patients) > classes:
                why = (
                    f"its {len(everything)} images are of so few patients, or copies of so few "
                    "images, that training needs them all"
                )
        else:
            why = "the split that is given puts none there"
        raise UserError(
            f"{name} has no test images: {why}; add images of others, or say which are the "
            "test in DATASET.SPLIT_FILE"
        )
    if not split["train"] and shots != 0:
        raise UserError(
            f"{name} has no images to train on ({len(split['test'])} in test); give --shots 0 to a "
            "trainer that needs none"
        )


_FEW = 10  # classes that may be called by decimals, such as grades
_DECIMAL = re.compile(r"[-+]?\d*[.,]\d*[1-9]\d*(e[-+]?\d+)?|[-+]?\d+(\.\d+)?e[-+]?\d+", re.I)


def check_classes(name: str, classnames: Sequence[str]) -> None:
    """Refuse a training on fewer than two classes, on which every score is perfect, and measured
    values in place of classes: each would be a class, and its few images all be needed to train.
    """
    measured = [word for word in classnames if _DECIMAL.fullmatch(word)]
    if len(measured) > _FEW and 2 * len(measured) > len(classnames):
        raise UserError(
            f"{name} has {len(classnames)} classes that are numbers, such as {measured[0]} and "
            f"{measured[1]}; a label is the name of a class: take another column, or put the "
            "numbers into a few classes"
        )
    if len(classnames) < 2:
        only = f' ("{classnames[0]}")' if classnames else ""
        raise UserError(
            f"{name} has {len(classnames)} class{only}; training and scores need two: check "
            "DATASET.FOLDER, which must hold one folder for each class"
        )


def warn_of_gaps(name: str, split: Parts, found: bool, in_folds: bool = False) -> list[str]:
    """What to say of classes that a part of the split lacks.

    Args:
        name: of the data set.
        split: who is where.
        found: the split was given rather than made by a ratio.
        in_folds: it is one fold of several.
    """
    have = {part: {item.classname for item in split[part]} for part in PARTS}
    said = []
    for part in PARTS if found else ("train", "test"):
        lacking = sorted(set().union(*have.values()) - have[part]) if split[part] else []
        if not lacking:
            continue
        text = f"{name}: no images of {', '.join(lacking)} in {part}"
        if not found:
            other = "fewer folds" if in_folds else "SPLIT_RATIO"
            text += f", for want of patients; another DATASET.SPLIT_SEED or {other} may help"
        elif part == "train":
            text += ": what is tested or validated of them was never trained on"
        else:
            text += f", though the other parts have some: {part} scores say nothing of them"
        said.append(text)
    return said


def check_labels(dataset: object) -> None:
    """Refuse a data set whose labels have a gap in training, so that names and labels differ."""
    train = getattr(dataset, "train_x", None) or []
    labels = sorted({item.label for item in train})
    names = getattr(dataset, "classnames", [])
    missing = sorted(set(range(labels[-1] + 1)) - set(labels)) if labels else []
    if missing and len(names) <= labels[-1]:
        raise UserError(
            f"{type(dataset).__name__}: label {missing[0]} has no training image (labels "
            f"{', '.join(map(str, labels))}); number the classes from 0 without a gap, or add "
            "images of it"
        )
