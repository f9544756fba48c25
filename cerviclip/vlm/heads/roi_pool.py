"""Attention pooling over the patches of a region of interest (SAVLT's)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dassl.errors import UserError


class RoiAttentionPool(nn.Module):
    """Learned queries that attend to the patches in an ROI.

    The queries start near 0 and the values as the patches themselves, so attention starts as the
    mean over the ROI, in the space that the texts live in.

    Args:
        dim: D of the patch features.
        heads: attention heads.
        queries: learned queries; their results are averaged.
        start_at_zero: the output starts as 0, for a pool that is added to another feature.
    """

    def __init__(
        self, dim: int, heads: int = 4, queries: int = 1, start_at_zero: bool = False
    ) -> None:
        super().__init__()
        if dim % heads:
            raise UserError(f"TRAINER.SAVLT.ROI.HEADS {heads} does not divide {dim} features")
        self.heads = heads
        self.queries = nn.Parameter(torch.randn(queries, dim) * 0.02)
        self.q, self.k = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.v, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        nn.init.eye_(self.v.weight)
        (nn.init.zeros_ if start_at_zero else nn.init.eye_)(self.out.weight)
        nn.init.zeros_(self.v.bias)
        nn.init.zeros_(self.out.bias)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)  # (..., heads, tokens, d)

    def forward(self, patches: Tensor, inside: Tensor) -> Tensor:
        """Patches (B, N, D) and which of them are in the ROI (B, N) to pooled features (B, D)."""
        query = self._split(self.q(self.queries)).expand(patches.shape[0], -1, -1, -1)
        pooled = F.scaled_dot_product_attention(
            query,
            self._split(self.k(patches)),
            self._split(self.v(patches)),
            attn_mask=inside[:, None, None, :],
        )  # (B, heads, queries, d)
        return self.out(pooled.transpose(1, 2).flatten(2).mean(1))

    def attention(self, patches: Tensor, inside: Tensor) -> Tensor:
        """Attention weights (B, heads, N), mean over the queries; 0 outside the ROI."""
        query, key = self._split(self.q(self.queries)), self._split(self.k(patches))
        scores = query @ key.transpose(-2, -1) / key.shape[-1] ** 0.5  # (B, heads, queries, N)
        scores = scores.masked_fill(~inside[:, None, None, :], float("-inf"))
        return scores.softmax(-1).mean(-2)
