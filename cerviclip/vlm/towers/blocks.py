"""Attention and transformer block of CLIP's towers: batch first, a Linear for each projection."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention with separate q, k, v and output projections, through SDPA."""

    def __init__(
        self, q: nn.Linear, k: nn.Linear, v: nn.Linear, out: nn.Linear, heads: int
    ) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = q, k, v, out
        self.heads = heads

    @classmethod
    def from_torch(cls, attn: nn.MultiheadAttention) -> Attention:
        """The same function as a ``nn.MultiheadAttention`` whose q, k and v share one width."""
        q, k, v = (
            _linear(weight, bias)
            for weight, bias in zip(
                attn.in_proj_weight.chunk(3), attn.in_proj_bias.chunk(3), strict=True
            )
        )
        return cls(q, k, v, _linear(attn.out_proj.weight, attn.out_proj.bias), attn.num_heads)

    def split(self, x: Tensor) -> Tensor:
        """(B, T, W) to (B, heads, T, W / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def merge(self, x: Tensor) -> Tensor:
        """Inverse of ``split``."""
        return x.transpose(1, 2).flatten(2)

    def forward(
        self,
        x: Tensor,
        source: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Queries from ``x`` (B, T, W), keys and values from ``source`` (B, S, W; None: ``x``)."""
        x = in_autocast_type(x)  # once, not once for each of q, k and v
        source = x if source is None else in_autocast_type(source)
        q = self.split(self.q_proj(x))
        k, v = self.split(self.k_proj(source)), self.split(self.v_proj(source))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out_proj(self.merge(mixed))


class Block(nn.Module):
    """Pre-norm residual attention block; ``causal`` for text towers."""

    def __init__(
        self,
        ln_1: nn.Module,
        attn: Attention,
        ln_2: nn.Module,
        mlp: nn.Module,
        causal: bool = False,
        ls_1: nn.Module | None = None,
        ls_2: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2, self.mlp = ln_1, attn, ln_2, mlp
        self.ls_1 = ls_1 or nn.Identity()  # layer scale, which some open_clip towers have
        self.ls_2 = ls_2 or nn.Identity()
        self.causal = causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        mixed = self.attn(self.ln_1(x), mask=mask, causal=self.causal and mask is None)
        return self.feed(x + self.ls_1(mixed))

    def feed(self, x: Tensor) -> Tensor:
        """The second half: x + MLP(LN(x))."""
        return x + self.ls_2(self.mlp(self.ln_2(x)))

    def rows(self, x: Tensor, index: Tensor | int, prefix: Tensor | None = None) -> Tensor:
        """Output of this block at one token of each sequence, at the cost of that token's query.

        Args:
            x: (B, T, W).
            index: the token, one for all (int) or one for each sequence (B,).
            prefix: (1, P, W) tokens that stand before each sequence, for keys and values only.

        Returns:
            (B, W). In a causal block keys behind the token are masked.
        """
        h = self.ln_1(x)
        mask = None
        if isinstance(index, int):
            query, row = h[:, index : index + 1], x[:, index]
        else:
            batch = torch.arange(len(x), device=x.device)
            query, row = h[batch, index].unsqueeze(1), x[batch, index]
            if self.causal:
                mask = torch.arange(x.shape[1], device=x.device) <= index[:, None]
                mask = mask[:, None, None, :]
        if prefix is not None:
            h = torch.cat([self.ln_1(prefix).expand(x.shape[0], -1, -1), h], dim=1)
            mask = None if mask is None else F.pad(mask, (prefix.shape[1], 0), value=True)
        mixed = self.attn(query, h, mask=mask).squeeze(1)
        return self.feed(row + self.ls_1(mixed))

    def with_prefix(self, first: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """A causal block over sequences that begin with the same tokens, which are run once.

        Args:
            first: (1, P, W) the common beginning. rest: (B, S, W) what follows it in each.
        """
        (b, s, w), p = rest.shape, first.shape[1]
        flat = torch.cat([first.flatten(0, 1), rest.flatten(0, 1)]).unsqueeze(0)  # (1, P + B S, W)
        attn, h = self.attn, in_autocast_type(self.ln_1(flat))
        q, k, v = attn.q_proj(h), attn.k_proj(h), attn.v_proj(h)
        (q1, q2), (k1, k2), (v1, v2) = (
            (attn.split(x[:, :p]), attn.split(x[:, p:].view(b, s, w))) for x in (q, k, v)
        )
        k2, v2 = (
            torch.cat([one.expand(b, -1, -1, -1), own], dim=2) for one, own in ((k1, k2), (v1, v2))
        )
        seen = torch.ones(s, p + s, dtype=torch.bool, device=q.device).tril(p)
        mixed1 = F.scaled_dot_product_attention(q1, k1, v1, is_causal=True)
        mixed2 = F.scaled_dot_product_attention(q2, k2, v2, attn_mask=seen)
        mixed = torch.cat([attn.merge(mixed1), attn.merge(mixed2).reshape(1, b * s, w)], dim=1)
        flat = self.feed(flat + self.ls_1(attn.out_proj(mixed)))
        return flat[:, :p], flat[:, p:].view(b, s, w)


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x) as a scaled SiLU, which keeps one tensor for backward instead of two."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(1.702 * x).mul_(1 / 1.702)


def in_autocast_type(x: Tensor) -> Tensor:
    """``x`` in the type that matrix products will ask for here."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A frozen ``nn.Linear`` holding these values, without the cost of initialising one."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return layer
