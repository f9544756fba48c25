"""How well a linear probe tells the hospital from frozen features: an index of each tower.

A tower whose features tell where an image was taken gives a classifier an easy way to be wrong
elsewhere. The probe sees as many images of a class from each hospital, so the share of a class
tells nothing. Patients are in one fold alone, so that knowing a patient again is no help either.

Letters: N images, D feature dim, K hospitals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cerviclip.evaluation import report
from dassl.errors import UserError

SCHEMA = 1
FOLDS = 5
STRENGTH = 0.01  # C of the logistic regression on standardised features, as for few-shot probes


@dataclass(frozen=True)
class CenterImages:
    """The images of all hospitals; ids of patients tell hospitals apart.

    ``hospital`` and ``label`` are (N,) numbers of ``hospitals`` and ``classes``.
    """

    paths: list[str]
    hospital: np.ndarray
    label: np.ndarray
    patients: list[str]
    hospitals: tuple[str, ...]
    classes: tuple[str, ...]


def gather(datasets: Mapping[str, Any]) -> CenterImages:
    """All images of the classes that every hospital has, whatever part of a split they are in.

    Args:
        datasets: hospital -> its data set, with ``train_x``, ``val`` and ``test``.

    Raises:
        UserError: fewer than two hospitals, or no class that all of them have.
    """
    if len(datasets) < 2:
        raise UserError("telling hospitals apart needs two data sets or more; name them")
    items = {
        name: [item for part in (d.train_x, d.val, d.test) for item in part or []]
        for name, d in datasets.items()
    }
    found = [{item.classname for item in every} for every in items.values()]
    order = [c for c in next(iter(datasets.values())).classnames if all(c in s for s in found)]
    if not order:
        every = "; ".join(f"{n}: {', '.join(sorted(s))}" for n, s in zip(items, found, strict=True))
        raise UserError(
            f"no class is in all of these data sets ({every}); map their classes with "
            "--opts DATASET.CLASS_MAP_FILE, such as normal_abnormal"
        )
    rows = [
        (item.impath, k, order.index(item.classname), f"{name}/{item.patient_id or item.impath}")
        for k, (name, every) in enumerate(items.items())
        for item in every
        if item.classname in order
    ]
    paths, hospital, label, patients = (list(column) for column in zip(*rows, strict=True))
    of = (np.array(hospital), np.array(label), patients)
    return CenterImages(paths, *of, tuple(items), tuple(order))


def equal_draw(images: CenterImages, seed: int = 1) -> np.ndarray:
    """Numbers of images: of each class as many from each hospital, at random by the seed."""
    rng = np.random.default_rng(seed)
    chosen: list[np.ndarray] = []
    for c in range(len(images.classes)):
        own = [
            np.flatnonzero((images.label == c) & (images.hospital == k))
            for k in range(len(images.hospitals))
        ]
        count = min(map(len, own))
        chosen += [rng.permutation(numbers)[:count] for numbers in own]
    return np.sort(np.concatenate(chosen))


def out_of_fold(
    features: np.ndarray, hospital: np.ndarray, label: np.ndarray, patients: Sequence[str],
    folds: int = FOLDS, seed: int = 1,
) -> np.ndarray:  # fmt: skip
    """(N, K) probabilities of each hospital by probes that saw no image of the patient.

    Args:
        features: (N, D).
        hospital: (N,) true hospitals.
        label: (N,) classes; folds have alike shares of hospitals and classes.
        patients: (N,) ids.
        folds: how many; fewer where a hospital has fewer patients.
        seed: of the folds.

    Raises:
        UserError: a hospital has one patient alone.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    groups = np.unique(np.asarray(patients), return_inverse=True)[1]
    count = hospital.max() + 1
    fewest = min(len(np.unique(groups[hospital == k])) for k in range(count))
    if fewest < 2:
        raise UserError("a hospital has one patient alone: no fold could leave that patient out")
    splitter = StratifiedGroupKFold(min(folds, fewest), shuffle=True, random_state=seed)
    strata = hospital * (label.max() + 1) + label
    probs = np.zeros((len(features), count))
    for train, test in splitter.split(features, strata, groups):
        lacking = set(range(count)) - set(hospital[train].tolist())
        if lacking:
            raise UserError("too few patients of a hospital to train a probe in each fold")
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=2000))
        probs[test] = probe.fit(features[train], hospital[train]).predict_proba(features[test])
    return probs


def hospital_index(
    features: np.ndarray, images: CenterImages, folds: int = FOLDS, seed: int = 1
) -> dict[str, Any]:
    """What a tower's features tell of the hospital.

    Args:
        features: (N, D) of all images.
        images: of all hospitals.
        folds: of the cross-validation.
        seed: of the draw and of the folds.

    Returns:
        ``balanced_accuracy`` (percent, with its 95 % interval by patient), ``chance`` (percent),
        ``index`` (0 at chance, 1 where every image is told, with limits), ``macro_auc``,
        ``per_class`` (balanced accuracy among the images of each class) and counts.
    """
    chosen = equal_draw(images, seed)
    hospital, label = images.hospital[chosen], images.label[chosen]
    patients = [images.patients[i] for i in chosen]
    probs = out_of_fold(features[chosen], hospital, label, patients, folds, seed)

    def scored(rows: np.ndarray) -> dict[str, Any]:
        ids = [patients[i] for i in rows]
        return report.score(hospital[rows].tolist(), probs[rows], ids, images.hospitals)

    whole = scored(np.arange(len(chosen)))
    chance = 100 / len(images.hospitals)
    cell = whole["balanced_accuracy"]
    sides = {k: None if cell[k] is None else (cell[k] - chance) / (100 - chance)
             for k in ("value", "low", "high")}  # fmt: skip
    per_class = {
        name: scored(np.flatnonzero(label == c))["balanced_accuracy"]
        for c, name in enumerate(images.classes)
        if (label == c).any()
    }
    return {
        "balanced_accuracy": cell,
        "chance": chance,
        "index": sides,
        "macro_auc": whole["macro_auc"],
        "per_class": per_class,
        "confusion_matrix": whole["confusion_matrix"],
        "n_images": whole["n_images"],
        "n_patients": whole["n_patients"],
        **({"note": whole["note"]} if "note" in whole else {}),
    }
