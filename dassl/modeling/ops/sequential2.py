"""A sequence of modules that pass several values on."""

from __future__ import annotations

from typing import Any

from torch import nn


class Sequential2(nn.Sequential):
    """``nn.Sequential`` whose modules may take and return several values."""

    def forward(self, *inputs: Any) -> Any:
        for module in self:
            inputs = module(*inputs) if isinstance(inputs, tuple) else module(inputs)
        return inputs[0] if isinstance(inputs, tuple) and len(inputs) == 1 else inputs
