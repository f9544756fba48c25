"""Tokens that learn inside the towers: prompts before the blocks, branches beside them.

Every tower takes ``before_block(i, tokens)`` in ``run_blocks``, ``finish``, ``encode`` and when it
is called. The function sees the tokens (B, T, W) that enter block i and returns those that shall
enter. It may also return ``(tokens, side)``: ``side`` (B, T, W) is added to what leaves the block.
It must treat each token of ``side`` by itself, since the last block often runs for one token only.

Who keeps track of places: the tower, by the number of columns. The function may add tokens behind
the vision tower's prefix (``tower.prefix`` tokens: the class token, registers) and behind a text's
start token (column 0). It may replace or drop what was added, and never a token of the tower's own.
- A vision head leaves added tokens out of the pooled feature and of the patches.
- A text head reads the end token as many columns further on as were added. Masks grow likewise;
  added tokens count as real ones. A context of ``PromptLearner`` is the text's own, not added.
- Text in chunks (``encode_in_chunks``): a function with a method ``rows(slice)`` is asked for the
  function of those rows; any other must treat all rows alike. ``shared`` has no effect.
- Stored rows ``hidden:k`` enter block k: call ``finish(h, k, before_block)``; i counts from k.
- A tower whose blocks cannot be entered raises a UserError (``Tower.require_open_blocks``).

How methods are written with it, where ``ctx`` is a ``PromptLearner`` and P a list of (n, W):
- VPT deep: ``visual.finish(hidden, 0, vision_prompts(visual, P))`` on rows ``hidden:0``. P holds
  one (n, W) for each block. VPT shallow: P holds one.
- IVLP: VPT's line with 9 prompts, and ``ctx.features(text, before_block=text_prompts(text, Q))``.
  Q holds 8: ``ctx`` is the first layer's prompt, Q[j] replaces it before block j + 1.
- MaPLe: as IVLP, and nothing learns for vision but linear layers:
  ``vision_prompts(visual, [F_0(ctx.ctx), *(F(q) for F, q in zip(Fs, Q))])``.
- PromptSRC: as IVLP; the frozen features of its losses are the same calls without ``before_block``,
  and the Gaussian average is over the state dicts of ``ctx``, P and Q.
- TCP: ``ctx.features(text, before_block=text_prompts(text, [mlp(t)], start=8))``: mlp(t) is (C, n,
  W), one prompt for each class, and goes with its class into the chunks.
- MMA: ``lambda i, h: (h, s * up[i](shared[i](down[i](h)))) if i >= 4 else h`` for each tower
  (blocks 5 to 12), with stored rows ``hidden:4``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cerviclip.vlm.base import TextTower, Tower, VisionTower
from dassl.errors import UserError


class DeepPrompts:
    """A ``BeforeBlock`` that puts prompts into the columns from ``at`` on.

    Args:
        prompts: one for each block from ``start`` on; (n, W) for all rows or (B, n, W), row by row.
        start: the first block.
        at: the first column.
        insert: the first prompts are added; otherwise they replace the columns that are there. The
            prompts of later blocks always replace. Behind the last block with prompts their states
            run on as any token's.
    """

    def __init__(self, prompts: Sequence[Tensor], start: int, at: int, insert: bool) -> None:
        if len({p.shape[-2] for p in prompts}) > 1:
            raise ValueError(f"prompts of {[p.shape[-2] for p in prompts]} tokens; n must be one")
        self.prompts = list(prompts)
        self.start, self.at, self.insert = start, at, insert

    def __call__(self, index: int, tokens: Tensor) -> Tensor:
        layer = index - self.start
        if not 0 <= layer < len(self.prompts):
            return tokens
        prompts = self.prompts[layer].to(tokens.dtype)
        if prompts.dim() == 2:
            prompts = prompts.expand(tokens.shape[0], -1, -1)
        behind = self.at if self.insert and layer == 0 else self.at + prompts.shape[1]
        return torch.cat([tokens[:, : self.at], prompts, tokens[:, behind:]], dim=1)

    def rows(self, part: slice) -> DeepPrompts:
        """These prompts for some of the rows."""
        prompts = [p if p.dim() == 2 else p[part] for p in self.prompts]
        return DeepPrompts(prompts, self.start, self.at, self.insert)


def vision_prompts(tower: VisionTower, prompts: Sequence[Tensor], start: int = 0) -> DeepPrompts:
    """Prompts that are added before block ``start`` and replaced before each block after it.

    Raises:
        UserError: the tower cannot be entered, or has fewer blocks.
    """
    check_depth(tower, len(prompts), start, "deep visual prompts")
    return DeepPrompts(prompts, start, tower.prefix, insert=True)


def text_prompts(tower: TextTower, prompts: Sequence[Tensor], start: int = 1) -> DeepPrompts:
    """Prompts that replace the context, the columns behind the start token, from ``start`` on.

    Raises:
        UserError: the tower cannot be entered, or has fewer blocks.
    """
    check_depth(tower, len(prompts), start, "deep text prompts")
    return DeepPrompts(prompts, start, 1, insert=False)


def check_depth(tower: Tower, count: int, start: int, what: str) -> None:
    """Refuse prompts that the tower cannot take, before anything is trained.

    Args:
        tower: that is to take them.
        count: blocks with prompts of their own.
        start: the first of them.
        what: names the prompts, for the message.

    Raises:
        UserError: the tower cannot be entered, or has fewer blocks.
    """
    tower.require_open_blocks(what)
    if start + count > tower.num_blocks:
        raise UserError(
            f"{what} before {count} blocks from block {start} on: this {type(tower).__name__} has "
            f"{tower.num_blocks} blocks; lower the depth"
        )


def random_prompts(count: int, n: int, width: int) -> nn.ParameterList:
    """Prompts (n, W) of ``count`` blocks, drawn from N(0, 0.02)."""
    return nn.ParameterList(nn.init.normal_(torch.empty(n, width), std=0.02) for _ in range(count))
