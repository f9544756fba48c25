"""Whether an external centre and the training name their patients, so that they can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dassl.data.datasets.base_dataset import Datum


def shared_patients(
    center: str, ids: Sequence[str], training: str, of_training: Sequence[str]
) -> tuple[list[str], dict[str, Any]]:
    """The patient ids that a centre and the training have in common.

    Args:
        center: its name.
        ids: the patient of each of its images, "" where nobody knows.
        training: its name.
        of_training: the patient of each of its images.

    Returns:
        The ids, and ``shared_patient_ids`` as results.json has it: null with a ``reason`` where
        none was found and not all patients are known, since that is no finding.
    """
    shared = sorted((set(ids) & set(of_training)) - {""})
    reasons = [
        f"{name} names the patients of {known} of {total} images" if known
        else f"{name} names no patients"
        for name, known, total in (
            (center, sum(map(bool, ids)), len(ids)),
            (training, sum(map(bool, of_training)), len(of_training)),
        )
        if known < total or not total
    ]  # fmt: skip
    if reasons and not shared:
        return [], {"shared_patient_ids": None, "reason": "; ".join(reasons)}
    return shared, {"shared_patient_ids": len(shared)}


def without_patients(
    centers: Mapping[str, Sequence[Datum]], of_training: Sequence[str], by_pattern: Sequence[str]
) -> list[str]:
    """A warning for each centre that does not name its patients, where the training does.

    Args:
        centers: images by centre's name.
        of_training: the patient of each image of the training, "" where nobody knows.
        by_pattern: the centres whose file names were searched by the training's pattern.
    """
    if not all(of_training):
        return []
    said = []
    for name, items in centers.items():
        known = sum(bool(item.patient_id) for item in items)
        if known == len(items):
            continue
        why = f"{known} of {len(items)} images have a patient id" if known else "no patient ids"
        if name in by_pattern:
            why = "not all file names hold a patient by the training's pattern"
        said.append(
            f"{name}: {why}; each image without one counts as a patient of its own, so intervals "
            "may be too narrow, and whether patients of the training are among them is not known"
        )
    return said
