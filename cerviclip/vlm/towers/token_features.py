"""Transformers of torchvision and timm as image features: their tokens behind the last block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cerviclip.vlm.base import VisionTower


class TokenTower(VisionTower):
    """A network that ends in tokens (B, T, W); its blocks cannot be entered, so nothing for LoRA.

    Args:
        network: ``network(x)`` gives tokens behind the last norm, ``network.pool(tokens)`` what the
            network's own classifier sees (B, W).
        prefix: tokens in front of the patches.
        size: (height, width) of its input, px.
    """

    open_blocks = False

    def __init__(self, network: Any, prefix: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.network = network
        self.prefix = prefix
        with torch.no_grad():
            tokens = network.eval()(torch.zeros(1, 3, *size))
            pooled = network.pool(tokens)
        self.width = tokens.shape[2]
        self.pools_itself = pooled.shape == (1, self.width)
        self.grid = _grid(tokens.shape[1] - prefix, size)

    def stem(self, x: Tensor) -> Tensor:
        with self.autocast():
            return self.network(x)

    def head(self, h: Tensor) -> tuple[Tensor, Tensor]:
        patches = h[:, self.prefix :]
        with self.autocast():
            pooled = self.network.pool(h) if self.pools_itself else patches.mean(dim=1)
        return pooled, patches


class TorchvisionTokens(nn.Module):
    """torchvision's ``VisionTransformer`` without its classifier."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        from torchvision.models.feature_extraction import create_feature_extractor

        self.tokens = create_feature_extractor(model, ["encoder.ln"])

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(x)["encoder.ln"]

    @staticmethod
    def pool(tokens: Tensor) -> Tensor:
        return tokens[:, 0]


class TimmTokens(nn.Module):
    """Any network of timm whose ``forward_features`` gives tokens (B, T, W)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.forward_features(x)

    def pool(self, tokens: Tensor) -> Tensor:
        return self.model.forward_head(tokens, pre_logits=True)


def token_tower(model: Any, size: tuple[int, int]) -> TokenTower | None:
    """The tower of a transformer; None of a network that does not end in tokens.

    Args:
        model: of torchvision or timm.
        size: (height, width) of its input, px.
    """
    if hasattr(model, "forward_features") and hasattr(model, "forward_head"):
        with torch.no_grad():
            shape = model.eval().forward_features(torch.zeros(1, 3, *size)).shape
        if len(shape) != 3:
            return None
        return TokenTower(TimmTokens(model), getattr(model, "num_prefix_tokens", 0), size)
    if type(model).__name__ == "VisionTransformer":
        return TokenTower(TorchvisionTokens(model), 1, size)
    return None


def _grid(patches: int, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of patches, in the proportion of the input; one row where they fit none."""
    height, width = size
    rows = round((patches * height / width) ** 0.5)
    return (rows, patches // rows) if rows and patches % rows == 0 else (1, patches)
