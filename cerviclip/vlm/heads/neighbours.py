"""The graph of nearest neighbours in a set that is predicted as a whole."""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS = 2048  # of similarities in memory at a time


def nearest(rows: Tensor, queries: Tensor, count: int, same: bool) -> tuple[Tensor, Tensor]:
    """Similarities (N, k) and numbers (N, k) of the queries (Q, D) nearest to each row (N, D).

    Args:
        count: k, fewer where there are not so many queries.
        same: the rows are the queries; none is its own neighbour.
    """
    count = min(count, len(queries) - same)
    values, indices = [], []
    for start in range(0, len(rows), _ROWS):
        similarity = rows[start : start + _ROWS] @ queries.t()
        if same:
            own = torch.arange(len(similarity), device=rows.device)
            similarity[own, own + start] = -torch.inf
        found = similarity.topk(count, dim=-1)
        values.append(found.values)
        indices.append(found.indices)
    if not values:
        return rows.new_zeros(0, count), torch.zeros(0, count, dtype=torch.int64)
    return torch.cat(values), torch.cat(indices)


class NearestQueries:
    """Messages between queries, and from labelled shots to queries.

    Args:
        queries: (Q, D), L2-normalised.
        shots: (S, D), S may be 0.
        values: (S, C) one-hot labels.
        count: neighbours of each query and each shot, all of them queries.
    """

    def __init__(self, queries: Tensor, shots: Tensor, values: Tensor, count: int) -> None:
        self.weights, self.index = nearest(queries, queries, count, same=True)  # (Q, k)
        of_shots, index = nearest(shots, queries, count, same=False)  # (S, k)
        self.from_shots = queries.new_zeros(len(queries), values.shape[1])
        _send(self.from_shots, of_shots, index, values)

    def sums(self, z: Tensor) -> Tensor:
        """sum_j (w_ij + w_ji) z_j (Q, C) for z (Q, C) of the queries, labels of the shots."""
        own = (self.weights[..., None] * z[self.index]).sum(dim=1)
        return _send(own + self.from_shots, self.weights, self.index, z)


def _send(to: Tensor, weights: Tensor, index: Tensor, z: Tensor) -> Tensor:
    """Add w_ji z_j to row i of ``to``, for each neighbour i of each j."""
    messages = weights[..., None] * z[:, None, :]  # (N, k, C)
    return to.index_add_(0, index.flatten().to(to.device), messages.flatten(0, 1))
