"""Distances between all rows of two matrices."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def compute_distance_matrix(
    input1: torch.Tensor, input2: torch.Tensor, metric: str = "euclidean"
) -> torch.Tensor:
    """Distances of each row of one matrix to each row of another.

    Args:
        input1: (M, D).
        input2: (N, D).
        metric: "euclidean" (squared, as upstream) or "cosine" (1 - cosine similarity).

    Returns:
        (M, N).
    """
    for which, matrix in (("1st", input1), ("2nd", input2)):
        if matrix.dim() != 2:
            raise ValueError(f"expected 2-D matrices; the {which} has {matrix.dim()} dimensions")
    if input1.size(1) != input2.size(1):
        raise ValueError(
            f"both matrices must have the same width, got {input1.size(1)} and {input2.size(1)}"
        )
    if metric == "euclidean":
        return euclidean_squared_distance(input1, input2)
    if metric == "cosine":
        return cosine_distance(input1, input2)
    raise ValueError(f'unknown distance metric {metric!r}; choose "euclidean" or "cosine"')


def euclidean_squared_distance(input1: torch.Tensor, input2: torch.Tensor) -> torch.Tensor:
    """(M, N) squared Euclidean distances: |a|^2 + |b|^2 - 2ab."""
    squares1 = input1.pow(2).sum(dim=1, keepdim=True)  # (M, 1)
    squares2 = input2.pow(2).sum(dim=1)  # (N,)
    return squares1 + squares2 - 2 * input1 @ input2.t()


def cosine_distance(input1: torch.Tensor, input2: torch.Tensor) -> torch.Tensor:
    """(M, N) cosine distances."""
    return 1 - F.normalize(input1, dim=1) @ F.normalize(input2, dim=1).t()
