"""Linear layers between backbone and classifier."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .build import HEAD_REGISTRY


class MLP(nn.Module):
    """Linear layer, batch norm, activation and dropout for each hidden width.

    Args:
        in_features: width of the backbone's features.
        hidden_layers: widths; one number is one layer.
        activation: relu or leaky_relu.
        bn: with batch norm.
        dropout: probability; 0 for none.
    """

    def __init__(
        self,
        in_features: int = 2048,
        hidden_layers: int | Sequence[int] = (),
        activation: str = "relu",
        bn: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [hidden_layers] if isinstance(hidden_layers, int) else list(hidden_layers)
        if not widths:
            raise ValueError(
                "an MLP head needs at least one hidden layer (MODEL.HEAD.HIDDEN_LAYERS)"
            )
        activations: dict[str, Any] = {
            "relu": functools.partial(nn.ReLU, inplace=True),
            "leaky_relu": functools.partial(nn.LeakyReLU, inplace=True),
        }
        if activation not in activations:
            raise ValueError(
                f'MODEL.HEAD.ACTIVATION takes {" or ".join(activations)}, not "{activation}"'
            )
        layers: list[nn.Module] = []
        for width in widths:
            layers.append(nn.Linear(in_features, width))
            if bn:
                layers.append(nn.BatchNorm1d(width))
            layers.append(activations[activation]())
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            in_features = width
        self.mlp = nn.Sequential(*layers)
        self.out_features = in_features

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


@HEAD_REGISTRY.register()
def mlp(**kwargs: Any) -> MLP:
    """The head of ``MODEL.HEAD.NAME mlp``."""
    return MLP(**kwargs)
