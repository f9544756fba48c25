"""The base class of networks that turn images into feature vectors."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor


class Backbone(nn.Module):
    """Images (B, 3, H, W) to features (B, ``out_features``); subclasses set ``_out_features``."""

    _out_features: int

    @property
    def out_features(self) -> int:
        """Width of the features."""
        if self.__dict__.get("_out_features") is None:
            return None
        return self._out_features

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError
