"""Losses on a GPU, looked at some batches later and all at once, so that no step waits for it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

#: Losses that nobody asked about are looked at after this many.
MOST_UNSEEN = 256


def on_device(value: Any) -> bool:
    """Whether it is a tensor that a look at would wait for."""
    return isinstance(value, Tensor) and value.device.type != "cpu"


class Place(NamedTuple):
    """Where in an epoch a loss belongs; the batch is None in loops that do not count them."""

    batch_idx: int | None
    lr: float


class LossWatch:
    """Marks of an epoch's losses: 0 for a finite one, NaN for any other, kept on their device."""

    def __init__(self) -> None:
        self._unseen: list[tuple[Place, Tensor]] = []

    def note(self, place: Place, loss: Tensor) -> None:
        mark = loss.detach() * 0  # memory of its own, whatever becomes of the loss
        self._unseen.append((place, mark.reshape(()) if mark.numel() == 1 else mark.sum()))

    @property
    def full(self) -> bool:
        return len(self._unseen) >= MOST_UNSEEN

    def first_bad(self) -> Place | None:
        """Wait for the device and look: the place of the first loss that was infinite or NaN."""
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return None
        device = unseen[0][1].device
        marks = torch.stack([mark.float().to(device) for _, mark in unseen])
        bad = marks.isnan().tolist()
        return next((place for (place, _), is_bad in zip(unseen, bad, strict=True) if is_bad), None)
