"""Maps from a model's own attention: SAVLT's pool over the ROI, rollout and attribution in a
ViT."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cerviclip.app.explain.scorer import Scorer, ThisThread, log_odds
from cerviclip.app.explain.sites import networks_of
from cerviclip.vlm.base import VisionTower
from cerviclip.vlm.towers.blocks import Attention


def attention_methods(trainer: Any) -> list[str]:
    """Which of ``attention``, ``attribution`` and ``rollout`` a run has.

    Attribution reads the class token alone; SAVLT also pools patches.
    """
    roi = getattr(trainer, "has_roi", False)
    if not any(_open_attentions(one) for one in networks_of(trainer)):
        return ["attention"] if roi else []
    return ["attention", "rollout"] if roi else ["attribution", "rollout"]


def roi_attention(scorer: Scorer) -> np.ndarray:
    """SAVLT's attention over the patches, mean over the heads: (rows, columns)."""
    pixels, inside = scorer.input_of(scorer.pixels)
    weights = scorer.trainer.roi_attention(pixels, inside)[0].mean(0)
    grid = scorer.trainer.backbone.visual.grid
    return weights.reshape(grid).float().cpu().numpy()


@torch.no_grad()
def rollout(scorer: Scorer) -> np.ndarray:
    """How much of each patch reaches what is pooled: (rows, columns).

    Abnar & Zuidema, ACL 2020: each block hands on half of its attention (mean over the heads) and
    half of the token itself, and the blocks' matrices are multiplied. Prompts that a method puts
    between the blocks are left out, and what remains is scaled to the sum 1.
    """
    here, tokens = ThisThread(), _Tokens.of(scorer.trainer)
    passed: list[Tensor] = []

    def note(module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        if here:
            weights = _weights(*_heads(module, args, kwargs)[:2]).mean(1)[0]
            passed.append(_unit_rows(tokens.own(weights.double().cpu(), stay=1.0)))

    with ExitStack() as stack:
        for module in _attentions_of(scorer.trainer):
            handle = module.register_forward_pre_hook(note, with_kwargs=True)
            stack.callback(handle.remove)
        scorer.logits(scorer.pixels)
    share = torch.eye(tokens.prefix + tokens.count, dtype=torch.float64)
    for weights in passed:
        share = 0.5 * (weights @ share) + 0.5 * share
    return tokens.map_of(share)


def attribution(scorer: Scorer, label: int) -> np.ndarray:
    """What of each patch reaches the class's log-odds: (rows, columns).

    Chefer, Gur & Wolf, ICCV 2021, arXiv:2103.15679, eq. 5 and 6: each block adds, to the relevance
    R that has reached its tokens, A R. A is the attention times its gradient, its positive part,
    mean over the heads. Attention is computed in the open here, so that it has a gradient. Prompts
    that a method puts between the blocks are left out.

    Args:
        label: index of the class.
    """
    here, tokens = ThisThread(), _Tokens.of(scorer.trainer)
    passed: list[Tensor] = []

    def opened(module: Any, args: tuple, kwargs: dict[str, Any], output: Tensor) -> Tensor | None:
        if not here:
            return None
        torch.set_grad_enabled(True)  # a frozen part turns it off until it ends
        q, k, v = _heads(module, args, kwargs)
        weights = _weights(q, k)
        weights = weights if weights.requires_grad else weights.detach().requires_grad_()
        passed.append(weights)
        return _after_attention(module, (weights @ v.to(weights.dtype)).to(output.dtype))

    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        for module in _attentions_of(scorer.trainer):
            handle = module.register_forward_hook(opened, with_kwargs=True)
            stack.callback(handle.remove)
        score = log_odds(label)(scorer.logits(scorer.pixels)[0])
        gradients = torch.autograd.grad(score, passed, allow_unused=True)
    share = torch.eye(tokens.prefix + tokens.count, dtype=torch.float64)
    for weights, gradient in zip(passed, gradients, strict=True):
        if gradient is not None:
            product = (weights.detach() * gradient)[0].clamp(min=0).mean(0)
            share = share + tokens.own(product.double().cpu(), stay=0.0) @ share
    return tokens.map_of(share)


@dataclass(frozen=True)
class _Tokens:
    """A tower's own tokens.

    Args:
        prefix: 1 for a class token before the patches, else 0.
        grid: rows and columns of the patches.
    """

    prefix: int
    grid: tuple[int, int]

    @classmethod
    def of(cls, trainer: Any) -> _Tokens:
        towers = (one for one in networks_of(trainer) if _open_attentions(one))
        tower = next(towers)
        assert isinstance(tower, VisionTower)
        return cls(tower.prefix, (tower.grid[0], tower.grid[1]))

    @property
    def count(self) -> int:
        """Of the patches."""
        return self.grid[0] * self.grid[1]

    def own(self, weights: Tensor, stay: float) -> Tensor:
        """A square matrix of the own tokens.

        A last block that is asked for its class token alone gives one row; the others, which nobody
        reads, get ``stay`` on the diagonal.
        """
        width = weights.shape[1]
        keep = torch.cat([torch.arange(self.prefix), torch.arange(width - self.count, width)])
        if weights.shape[0] > 1:
            return weights[keep][:, keep]
        whole = stay * torch.eye(len(keep), dtype=weights.dtype)
        whole[0] = weights[0, keep]
        return whole

    def map_of(self, share: Tensor) -> np.ndarray:
        """The patches' part in the class token, or in the mean of all tokens."""
        row = share[0] if self.prefix else share.mean(0)
        return row[self.prefix :].reshape(self.grid).numpy()


def _attentions_of(trainer: Any) -> list[nn.Module]:
    """The attention layers of all towers, each once: an adapted one may share the frozen one's."""
    every = [module for tower in networks_of(trainer) for module in _open_attentions(tower)]
    return list({id(module): module for module in every}.values())


def _open_attentions(network: nn.Module) -> list[nn.Module]:
    """The attention layers of a ViT tower; empty for any other network."""
    if not isinstance(network, VisionTower) or not network.open_blocks:
        return []
    layers = [getattr(block, "attn", None) for block in network.blocks]
    known = [m for m in layers if isinstance(m, Attention) or hasattr(m, "qkv")]
    return known if len(known) == len(layers) else []  # type: ignore[return-value]


def _heads(module: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (B, heads, T or 1, W / heads), keys and values, as the layer computes them."""
    x = args[0]
    if isinstance(module, Attention):
        source = args[1] if len(args) > 1 else kwargs.get("source")
        source = x if source is None else source
        projected = module.q_proj(x), module.k_proj(source), module.v_proj(source)
        q, k, v = map(module.split, projected)
        return q, k, v
    parts = module.qkv(x).unflatten(-1, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4)  # timm's
    return module.q_norm(parts[0]), module.k_norm(parts[1]), parts[2]


def _weights(q: Tensor, k: Tensor) -> Tensor:
    """Attention (B, heads, T or 1, T), float32 or wider."""
    q, k = (x if x.dtype == torch.float64 else x.float() for x in (q, k))
    return (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)


def _after_attention(module: Any, mixed: Tensor) -> Tensor:
    """The layer's output of mixed values (B, heads, T or 1, W / heads)."""
    if isinstance(module, Attention):
        return module.out_proj(module.merge(mixed))
    merged = mixed.transpose(1, 2).flatten(2)
    norm = getattr(module, "norm", None)
    return module.proj(merged if norm is None else norm(merged))


def _unit_rows(weights: Tensor) -> Tensor:
    """Rows with the sum 1."""
    return weights / weights.sum(1, keepdim=True)
