"""What can be labelled next: images, or patients with all their images, without their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cerviclip.data.split.patient_grouped import Item
from cerviclip.data.variants.names import heads
from dassl.data.datasets import Datum
from dassl.errors import UserError

NO_LABEL = -1
IMAGE, PATIENT = "image", "patient"


@dataclass(frozen=True)
class Unit:
    """One image, or all training images of a patient.

    Args:
        name: path of the image, or the patient.
        members: places of its images among all training images.
    """

    name: str
    members: tuple[int, ...]


class Candidates:
    """The training images of a data set before any draw.

    Args:
        dataset: an ``ImagingDataset``.
        by: ``image`` or ``patient``.

    Attributes:
        items: all training images, in the order of their paths; augmented variants left out.
        units: what is chosen.
        blind: the images as `Datum` without label and class: all that a choice is made from.
    """

    def __init__(self, dataset: Any, by: str) -> None:
        if not hasattr(dataset, "full_split") or not hasattr(dataset, "record_rows"):
            raise UserError(
                f"{type(dataset).__name__} does not say its split before the draw, which labelling "
                "in rounds starts from"
            )
        self.items: list[Item] = sorted(heads(dataset.full_split["train"]), key=lambda i: i.path)
        if by == PATIENT and not dataset.patients_known:
            raise UserError(
                f"{dataset.name} knows no patients, so none can be chosen by --by patient; set "
                "DATASET.PATIENT_PATTERN, or leave --by out"
            )
        self.rows = dataset.record_rows(self.items)
        self.blind = [
            Datum(d.impath, NO_LABEL, d.domain, "", d.patient_id)
            for d in dataset.to_data(self.items)
        ]
        groups: dict[str, list[int]] = {}
        for place, item in enumerate(self.items):
            groups.setdefault(item.path if by == IMAGE else item.patient, []).append(place)
        self.units = [Unit(name, tuple(members)) for name, members in sorted(groups.items())]

    def images_of(self, units: Sequence[Unit]) -> list[int]:
        """Places of the units' images, in order."""
        return sorted(place for unit in units for place in unit.members)

    def mean_of(self, rows: np.ndarray, units: Sequence[Unit], unit_length: bool) -> np.ndarray:
        """(N, ...) of the units from rows of all images; at length 1 where asked for."""
        means = np.stack([rows[list(unit.members)].mean(axis=0) for unit in units])
        if unit_length:
            means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return means
