"""Wide residual networks (Zagoruyko and Komodakis, BMVC 2016), for small images."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone
from .build import BACKBONE_REGISTRY

SLOPE = 0.01  # of the leaky ReLUs


class BasicBlock(nn.Module):
    """Batch norm, leaky ReLU, convolution, twice, and a shortcut.

    The shortcut is the input itself; where widths differ, a convolution of the input's activation.

    Args:
        c_in: channels in.
        c_out: channels out.
        stride: of the first convolution.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.relu1 = nn.LeakyReLU(SLOPE, inplace=True)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.relu2 = nn.LeakyReLU(SLOPE, inplace=True)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, stride=1, padding=1, bias=False)
        same = c_in == c_out
        self.convShortcut = None if same else nn.Conv2d(c_in, c_out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.bn1(x))
        out = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return out + (x if self.convShortcut is None else self.convShortcut(active))


class NetworkBlock(nn.Module):
    """A row of basic blocks; only the first strides and widens."""

    def __init__(self, count: int, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            *(
                BasicBlock(c_in if i == 0 else c_out, c_out, stride if i == 0 else 1)
                for i in range(count)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class WideResNet(Backbone):
    """WRN-``depth``-``widen_factor``, for images of about 32 px.

    Args:
        depth: 6 n + 4 layers.
        widen_factor: channels are 16, 32 and 64 times this.
    """

    def __init__(self, depth: int, widen_factor: int) -> None:
        super().__init__()
        if (depth - 4) % 6:
            raise ValueError(f"a wide ResNet has 6 n + 4 layers, not {depth}")
        count = (depth - 4) // 6
        widths = [16, 16 * widen_factor, 32 * widen_factor, 64 * widen_factor]
        self.conv1 = nn.Conv2d(3, widths[0], 3, stride=1, padding=1, bias=False)
        self.block1 = NetworkBlock(count, widths[0], widths[1], 1)
        self.block2 = NetworkBlock(count, widths[1], widths[2], 2)
        self.block3 = NetworkBlock(count, widths[2], widths[3], 2)
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.relu = nn.LeakyReLU(SLOPE, inplace=True)
        self._out_features = widths[3]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return F.adaptive_avg_pool2d(self.relu(self.bn1(x)), 1).flatten(1)


@BACKBONE_REGISTRY.register()
def wide_resnet_28_2(**kwargs: Any) -> Backbone:
    """WRN-28-2, the network of most CIFAR-10 and SVHN semi-supervised papers."""
    return WideResNet(28, 2)


@BACKBONE_REGISTRY.register()
def wide_resnet_16_4(**kwargs: Any) -> Backbone:
    """WRN-16-4, the network of CIFAR-10-C generalisation papers."""
    return WideResNet(16, 4)
