"""Which picture comes next, and the answers of a reader's keys."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cerviclip.app.review.journal import ACCEPT, FLAG, LABEL, Journal
from cerviclip.data.files.folders import image_files
from dassl.errors import UserError

UNCERTAIN, RANDOM = "uncertain", "random"


def uncertainty(probabilities: Sequence[float]) -> float:
    """Entropy of class probabilities as a share of the greatest there can be: 0 sure, 1 none knows.

    Args:
        probabilities: of each class, with the sum 1; of one class alone the answer is 0.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if len(p) < 2:
        return 0.0
    p = p[p > 0]
    return float(max(0.0, -(p * np.log(p)).sum() / np.log(len(probabilities))))


def pictures_of(folder: Path) -> list[str]:
    """Paths of the pictures below a folder, sorted.

    Raises:
        UserError: there is none.
    """
    found = image_files(folder) if folder.is_dir() else []
    if not found:
        raise UserError(f"no images in {folder}")
    return found


def in_random_order(images: Sequence[str], seed: str) -> list[str]:
    """The same order each time for the same seed: a reload does not shuffle again."""
    order = sorted(images)
    random.Random(seed).shuffle(order)
    return order


def by_uncertainty(
    images: Sequence[str], probabilities: Mapping[str, Sequence[float]]
) -> list[str]:
    """The least certain first; those without probabilities (unreadable ones) last."""
    return sorted(
        images,
        key=lambda i: (-uncertainty(probabilities[i]) if probabilities.get(i) else 1.0, i),
    )


class ReviewQueue:
    """A reader's way through pictures.

    Args:
        images: in the order in which they are shown.
        classnames: the first nine have the keys 1-9.
        journal: of the reader.
    """

    def __init__(self, images: Sequence[str], classnames: Sequence[str], journal: Journal) -> None:
        self.images, self.classnames, self.journal = list(images), tuple(classnames), journal

    @property
    def current(self) -> str:
        """The first picture without a decision; "" when all have one."""
        decided = self.journal.decisions
        return next((image for image in self.images if image not in decided), "")

    def is_current(self, image: str) -> bool:
        """Whether it is the picture's turn, after all that other windows of the reader decided."""
        self.journal.refresh()
        return bool(image) and image == self.current

    @property
    def done(self) -> int:
        """Pictures of the queue that have a decision."""
        decided = self.journal.decisions
        return sum(image in decided for image in self.images)

    def label(self, image: str, classname: str, suggested: str = "", model: str = "") -> bool:
        """Give a class to the picture on the screen.

        Args:
            image: the picture that the reader saw. A second press of a key, which comes when the
                next picture is shown already, is not taken for that one.
            classname: the reader's.
            suggested: the model's, where the reader saw it.
            model: identity of the model.

        Returns:
            Whether it was taken.
        """
        if classname not in self.classnames:
            raise UserError(f"{classname} is none of the classes {', '.join(self.classnames)}")
        return self._decide(LABEL, image, label=classname, suggested=suggested, model=model)

    def accept(self, image: str, suggested: str, model: str = "") -> bool:
        """Take the model's class."""
        return self._decide(ACCEPT, image, label=suggested, suggested=suggested, model=model)

    def flag(self, image: str) -> bool:
        """Put the picture aside without a class."""
        return self._decide(FLAG, image)

    def undo(self) -> str:
        """Take the last decision back; its picture, or ""."""
        return self.journal.undo()

    def _decide(self, action: str, image: str, **more: str) -> bool:
        if not self.is_current(image):
            return False
        self.journal.decide(action, image, **more)
        return True
