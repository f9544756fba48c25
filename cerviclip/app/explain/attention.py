"""Maps from a model's own attention: SAVLT's pool over the ROI, and rollout through a ViT."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cerviclip.app.explain.scorer import Scorer, ThisThread
from cerviclip.app.explain.sites import networks_of
from cerviclip.vlm.base import VisionTower
from cerviclip.vlm.towers.blocks import Attention


def attention_methods(trainer: Any) -> list[str]:
    """Which of ``attention`` and ``rollout`` a run has."""
    found = ["attention"] if getattr(trainer, "has_roi", False) else []
    if any(_open_attentions(one) for one in networks_of(trainer)):
        found.append("rollout")
    return found


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
    here, prefix, count = ThisThread(), 1, 0
    passed: list[Tensor] = []

    def note(module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        if here:
            passed.append(_own_tokens(_weights(module, args, kwargs)[0], prefix, count))

    with ExitStack() as stack:
        hooked: set[int] = set()
        for tower in networks_of(scorer.trainer):
            for module in _open_attentions(tower):
                assert isinstance(tower, VisionTower)
                prefix, count = tower.prefix, tower.grid[0] * tower.grid[1]
                if id(module) not in hooked:  # an adapted tower may share the frozen one's
                    hooked.add(id(module))
                    handle = module.register_forward_pre_hook(note, with_kwargs=True)
                    stack.callback(handle.remove)
        scorer.logits(scorer.pixels)
    share = torch.eye(prefix + count, dtype=torch.float64)
    for weights in passed:
        mixed = 0.5 * weights + 0.5 * torch.eye(len(weights), dtype=torch.float64)
        share = mixed @ share
    row = share[0] if prefix else share.mean(0)
    return row[prefix:].reshape(_grid(scorer.trainer)).numpy()


def _grid(trainer: Any) -> tuple[int, int]:
    return next(
        one.grid
        for one in networks_of(trainer)
        if isinstance(one, VisionTower) and _open_attentions(one)
    )


def _open_attentions(network: nn.Module) -> list[nn.Module]:
    """The attention layers of a ViT tower; empty for any other network."""
    if not isinstance(network, VisionTower) or not network.open_blocks:
        return []
    layers = [getattr(block, "attn", None) for block in network.blocks]
    known = [m for m in layers if isinstance(m, Attention) or hasattr(m, "qkv")]
    return known if len(known) == len(layers) else []  # type: ignore[return-value]


def _weights(module: Any, args: tuple, kwargs: dict[str, Any]) -> Tensor:
    """Attention (B, T or 1, T), mean over the heads, float64, as the layer is about to compute."""
    x = args[0]
    if isinstance(module, Attention):
        source = args[1] if len(args) > 1 else kwargs.get("source")
        source = x if source is None else source
        q, k = module.split(module.q_proj(x)), module.split(module.k_proj(source))
    else:  # timm's
        parts = module.qkv(x).unflatten(-1, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = module.q_norm(parts[0]), module.k_norm(parts[1])
    scores = q.double() @ k.double().transpose(-2, -1) / q.shape[-1] ** 0.5
    return scores.softmax(-1).mean(1).cpu()


def _own_tokens(weights: Tensor, prefix: int, count: int) -> Tensor:
    """A square matrix of the tower's own tokens, each row's sum 1.

    A last block that is asked for its class token alone gives one row; the others, which nobody
    reads, pass themselves.
    """
    keep = torch.cat(
        [torch.arange(prefix), torch.arange(weights.shape[1] - count, weights.shape[1])]
    )
    if weights.shape[0] == 1:
        whole = torch.eye(len(keep), dtype=weights.dtype)
        whole[0] = weights[0, keep]
    else:
        whole = weights[keep][:, keep]
    return whole / whole.sum(1, keepdim=True)
