"""ResNet-18 with activations before convolutions (He et al., ECCV 2016), for small images."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone
from .build import BACKBONE_REGISTRY


class PreActBlock(nn.Module):
    """Batch norm, ReLU, convolution, twice; the shortcut starts behind the first activation."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, stride=1, padding=1, bias=False)
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride=stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        shortcut = self.shortcut(active) if hasattr(self, "shortcut") else x
        return self.conv2(F.relu(self.bn2(self.conv1(active)))) + shortcut


class PreActResNet(Backbone):
    """Four layers of ``PreActBlock``.

    Args:
        counts: blocks per layer.
    """

    def __init__(self, counts: tuple[int, int, int, int] = (2, 2, 2, 2)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
        width = 64
        for i, count in enumerate(counts):
            blocks = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(PreActBlock(width, 64 * 2**i, stride))
                width = 64 * 2**i
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self._out_features = width

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for i in range(4):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return F.avg_pool2d(x, 4).flatten(1)


@BACKBONE_REGISTRY.register()
def preact_resnet18(**kwargs: Any) -> Backbone:
    """Pre-activation ResNet-18 for 32 x 32 px; no pre-trained weights exist."""
    return PreActResNet()
