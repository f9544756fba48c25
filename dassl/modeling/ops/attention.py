"""Weights over a few branches from a feature map (DDG, Sun et al., 2022)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Squeeze maps (B, C, H, W) to softmax weights (B, ``out_features``).

    Args:
        in_channels: C.
        out_features: number of branches.
        squeeze: hidden width; a sixteenth of ``in_channels`` by default.
        bias: of both linear layers.
    """

    def __init__(
        self, in_channels: int, out_features: int, squeeze: int | None = None, bias: bool = True
    ) -> None:
        super().__init__()
        self.squeeze = squeeze or in_channels // 16
        if self.squeeze <= 0:
            raise ValueError(f"{in_channels} channels need an explicit squeeze width")
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Linear(in_channels, self.squeeze, bias=bias)
        self.fc2 = nn.Linear(self.squeeze, out_features, bias=bias)
        self.sf = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.avg_pool(x).flatten(-3)
        return self.sf(self.fc2(F.relu(self.fc1(pooled))))
