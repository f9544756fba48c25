"""One vector for each class, compared by cosine: heads that start at the class texts or means."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def class_sums(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Sums (C, D) of the features (N, D) of each class, and how many there are (C,), as floats."""
    values = F.one_hot(labels, num_classes).to(features.dtype)  # (N, C)
    return values.t() @ features, values.sum(0)


class Prototypes(nn.Module):
    """Learnable vectors (C, D) of the classes; their length is without effect on the logits.

    Args:
        start: what they begin as (C, D), e.g. the class texts.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(start.detach().clone())

    def forward(self, image_features: Tensor, scale: float | Tensor) -> Tensor:
        """Logits (B, C): scale times the cosine of unit features (B, D) and vectors."""
        return scale * image_features @ F.normalize(self.weight, dim=-1).t()

    @torch.no_grad()
    def set(self, weight: Tensor) -> None:
        self.weight.copy_(weight)
