"""A tower with LoRA adapters as a trainer registers it: its checkpoint is the adapters alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from cerviclip.vlm.base import Tower
from cerviclip.vlm.lora import load_lora_state_dict, lora_parameters, lora_state_dict


class AdaptedTower(nn.Module):
    """What learns of an adapted tower.

    Args:
        tower: from ``apply_lora``.
        base_sha256: of the frozen weights; loading over others is refused.
    """

    def __init__(self, tower: Tower, base_sha256: str) -> None:
        super().__init__()
        self.tower = tower
        self.base_sha256 = base_sha256

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """The adapters' parameters: an optimiser has no business with the frozen ones."""
        return iter(lora_parameters(self.tower))

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:  # type: ignore[override]
        return lora_state_dict(self.tower, self.base_sha256)

    def load_state_dict(self, state_dict: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> None:
        load_lora_state_dict(self.tower, dict(state_dict), self.base_sha256)
