"""Small networks for 32 x 32 digits: Digits-DG, single-source digits, Digit-5."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dassl.utils import init_network_weights

from .backbone import Backbone
from .build import BACKBONE_REGISTRY


def _check_size(x: Tensor) -> None:
    if x.shape[-2:] != (32, 32):
        raise ValueError(f"the digit networks take 32 x 32 px, not {tuple(x.shape[-2:])}")


class Convolution(nn.Module):
    """3 x 3 convolution and ReLU."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, stride=1, padding=1)
        self.relu = nn.ReLU(True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x))


class ConvNet(Backbone):
    """Four convolutions of ``c_hidden`` channels, each followed by 2 x 2 pooling (Digits-DG)."""

    def __init__(self, c_hidden: int = 64) -> None:
        super().__init__()
        self.conv1 = Convolution(3, c_hidden)
        self.conv2 = Convolution(c_hidden, c_hidden)
        self.conv3 = Convolution(c_hidden, c_hidden)
        self.conv4 = Convolution(c_hidden, c_hidden)
        self._out_features = 2 * 2 * c_hidden

    def forward(self, x: Tensor) -> Tensor:
        _check_size(x)
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = F.max_pool2d(conv(x), 2)
        return x.flatten(1)


class SingleSourceNet(Backbone):
    """Two 5 x 5 convolutions and two linear layers (Volpi et al., NeurIPS 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 5)
        self.conv2 = nn.Conv2d(64, 128, 5)
        self.fc3 = nn.Linear(5 * 5 * 128, 1024)
        self.fc4 = nn.Linear(1024, 1024)
        self._out_features = 1024

    def forward(self, x: Tensor) -> Tensor:
        _check_size(x)
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.relu(self.fc4(F.relu(self.fc3(x.flatten(1)))))


class FeatureExtractor(Backbone):
    """Three 5 x 5 convolutions and two linear layers (M3SDA, Peng et al., ICCV 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 5, padding=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 5, padding=2)
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 128, 5, padding=2)
        self.bn3 = nn.BatchNorm2d(128)
        self.fc1 = nn.Linear(8192, 3072)
        self.bn1_fc = nn.BatchNorm1d(3072)
        self.fc2 = nn.Linear(3072, 2048)
        self.bn2_fc = nn.BatchNorm1d(2048)
        self._out_features = 2048

    def forward(self, x: Tensor) -> Tensor:
        _check_size(x)
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 3, stride=2, padding=1)
        x = F.relu(self.bn3(self.conv3(x))).flatten(1)
        x = F.dropout(F.relu(self.bn1_fc(self.fc1(x))), training=self.training)
        return F.relu(self.bn2_fc(self.fc2(x)))


@BACKBONE_REGISTRY.register()
def cnn_digitsdg(**kwargs: Any) -> Backbone:
    """Network of the Digits-DG benchmark; no pre-trained weights exist."""
    model = ConvNet(c_hidden=64)
    init_network_weights(model, init_type="kaiming")
    return model


@BACKBONE_REGISTRY.register()
def cnn_digitsingle(**kwargs: Any) -> Backbone:
    """Network of single-source digit generalisation; no pre-trained weights exist."""
    model = SingleSourceNet()
    init_network_weights(model, init_type="kaiming")
    return model


@BACKBONE_REGISTRY.register()
def cnn_digit5_m3sda(**kwargs: Any) -> Backbone:
    """Network of the Digit-5 benchmark; no pre-trained weights exist."""
    return FeatureExtractor()
