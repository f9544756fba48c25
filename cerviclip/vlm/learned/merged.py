"""Layers whose frozen weight is changed by something small that learns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cerviclip.vlm.files.tensor_state import state_of


class MergedWeight(nn.Module):
    """Mixin before a linear layer: evaluation uses one merged weight beside the frozen one.

    It is made when first needed, dropped by ``train()``, and made anew when its sources changed.
    """

    weight: Tensor
    _merged: Tensor | None = None
    _merged_from: tuple[Any, ...] = ()

    def sources(self) -> tuple[Tensor, ...]:
        """The tensors that the merged weight is made of; the first of them learns."""
        raise NotImplementedError

    def updated_weight(self) -> Tensor:
        """The weight as it is with what has been learnt (out, in), in float32."""
        raise NotImplementedError

    @property
    def open(self) -> bool:
        """Whether this pass is to have gradients.

        In evaluation with gradients wanted (Grad-CAM, a trainer that stays in eval mode) a layer
        stays open, or what learns would silently get no gradient.
        """
        return self.training or (torch.is_grad_enabled() and self.sources()[0].requires_grad)

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """``updated_weight`` in the type of the frozen one."""
        made_from = state_of(*self.sources())
        if self._merged is None or self._merged_from != made_from:
            self._merged = self.updated_weight().to(self.weight.dtype)
            self._merged_from = made_from
        return self._merged

    def drop_merged(self) -> None:
        self._merged, self._merged_from = None, ()

    def train(self, mode: bool = True):
        nn.Module.train(self, mode)
        if mode:
            self.drop_merged()
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_merged": None, "_merged_from": ()}
