"""Distances between two batches of features by entropic optimal transport."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OptimalTransport(nn.Module):
    """Base: the cost of moving each feature of one batch to each of the other."""

    @staticmethod
    def distance(batch1: Tensor, batch2: Tensor, dist_metric: str = "cosine") -> Tensor:
        """Costs (B1, B2): 1 - cosine, or squared Euclidean distances, computed in two ways."""
        if dist_metric == "cosine":
            return 1 - F.normalize(batch1, dim=1) @ F.normalize(batch2, dim=1).t()
        if dist_metric == "euclidean":
            squares1 = batch1.square().sum(1, keepdim=True)
            squares2 = batch2.square().sum(1)
            return squares1 + squares2 - 2 * batch1 @ batch2.t()
        if dist_metric == "fast_euclidean":
            return (batch1.unsqueeze(-2) - batch2.unsqueeze(-3)).square().sum(-1)
        raise ValueError(
            f'dist_metric is "cosine", "euclidean" or "fast_euclidean", not "{dist_metric}"'
        )


class SinkhornDivergence(OptimalTransport):
    """2 W(x, y) - W(x, x) - W(y, y) with Sinkhorn's algorithm in log space (Cuturi, NeurIPS 2013).

    Args:
        dist_metric: see :meth:`distance`.
        eps: weight of the entropy.
        max_iter: most iterations.
        bp_to_sinkhorn: let gradients flow through the plan, not only through the costs.
    """

    thre = 1e-3  # iterations end when the potentials move by less than this, summed

    def __init__(
        self,
        dist_metric: str = "cosine",
        eps: float = 0.01,
        max_iter: int = 5,
        bp_to_sinkhorn: bool = False,
    ) -> None:
        super().__init__()
        self.dist_metric = dist_metric
        self.eps = eps
        self.max_iter = max_iter
        self.bp_to_sinkhorn = bp_to_sinkhorn

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 2 * self.transport_cost(x, y) - self.transport_cost(x, x) - self.transport_cost(y, y)

    def transport_cost(self, x: Tensor, y: Tensor, return_pi: bool = False) -> Any:
        """Cost of the plan, a number; with ``return_pi`` also the plan (B1, B2)."""
        costs = self.distance(x, y, dist_metric=self.dist_metric)
        plan = self.sinkhorn_iterate(costs, self.eps, self.max_iter, self.thre)
        if not self.bp_to_sinkhorn:
            plan = plan.detach()
        cost = (plan * costs).sum()
        return (cost, plan) if return_pi else cost

    @staticmethod
    def sinkhorn_iterate(costs: Tensor, eps: float, max_iter: int, thre: float) -> Tensor:
        """The plan (B1, B2) between uniform weights."""
        rows, columns = costs.shape
        log_row, log_column = math.log(1 / rows + 1e-8), math.log(1 / columns + 1e-8)
        u, v = costs.new_zeros(rows), costs.new_zeros(columns)

        def scaled() -> Tensor:
            return (u.unsqueeze(1) + v.unsqueeze(0) - costs) / eps

        for _ in range(max_iter):
            before = u
            u = u + eps * (log_row - torch.logsumexp(scaled(), dim=1))
            v = v + eps * (log_column - torch.logsumexp(scaled(), dim=0))
            if (u - before).abs().sum().item() < thre:
                break
        return scaled().exp()


class MinibatchEnergyDistance(SinkhornDivergence):
    """Energy distance over halves of both batches (OT-GAN, Salimans et al., ICLR 2018)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x1, x2 = x.split(len(x) // 2)
        y1, y2 = y.split(len(y) // 2)
        between = sum(self.transport_cost(a, b) for a in (x1, x2) for b in (y1, y2))
        return between - 2 * self.transport_cost(x1, x2) - 2 * self.transport_cost(y1, y2)
