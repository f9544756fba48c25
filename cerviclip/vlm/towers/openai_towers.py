"""CLIP's three kinds of tower: vision transformer, modified ResNet, causal text transformer.

They take over the modules of the ``clip`` package (or of open_clip, whose layout is the same).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cerviclip.vlm.base import (
    BeforeBlock,
    TextTower,
    Tower,
    VisionTower,
    added_columns,
    enter_block,
)
from cerviclip.vlm.towers.blocks import Attention, Block, QuickGELU

CLIP_LORA_NAMES = {
    "q": ("attn.q_proj",),
    "k": ("attn.k_proj",),
    "v": ("attn.v_proj",),
    "o": ("attn.out_proj",),
    "mlp": ("mlp.c_fc", "mlp.c_proj"),
}


class ViTTower(VisionTower):
    """CLIP's vision transformer; the class token is token 0."""

    lora_names = CLIP_LORA_NAMES
    projection = "proj"

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.conv1 = visual.conv1
        self.class_embedding = visual.class_embedding
        self.positional_embedding = visual.positional_embedding
        self.ln_pre = visual.ln_pre
        self.blocks = nn.ModuleList(open_block(b) for b in visual.transformer.resblocks)
        self.ln_post = visual.ln_post
        self.proj = visual.proj
        self.width = self.conv1.out_channels
        size = image_size(visual)
        patch = self.conv1.kernel_size
        self.grid = (size[0] // patch[0], size[1] // patch[1])

    def stem(self, x: Tensor) -> Tensor:
        with self.autocast():
            patches = self.conv1(x).flatten(2).transpose(1, 2)  # (B, N, W)
            cls = self.class_embedding.to(patches.dtype).expand(x.shape[0], 1, -1)
            h = torch.cat([cls, patches], dim=1) + self.positional_embedding
            return self.ln_pre(h)

    def head(self, h: Tensor) -> tuple[Tensor, Tensor]:
        with self.autocast():
            tokens = self.ln_post(self.own_tokens(h)) @ self.proj
        return tokens[:, 0], tokens[:, 1:]

    def finish(self, h: Tensor, start: int = 0, before_block: BeforeBlock | None = None) -> Tensor:
        if start >= self.num_blocks:
            row = h[:, 0]
        else:
            h = self.run_blocks(h, start, self.num_blocks - 1, before_block)
            with self.autocast():
                h, side = enter_block(before_block, self.num_blocks - 1, h)
                row = _last(self).rows(h, 0)
                row = row if side is None else row + side[:, 0]
        with self.autocast():
            return self.ln_post(row) @ self.proj


class AttentionPool(nn.Module):
    """CLIP ResNet's attention pool over tokens that already hold mean token and positions."""

    def __init__(self, pool: Any) -> None:
        super().__init__()
        self.attn = Attention(pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj, pool.num_heads)

    def forward(self, h: Tensor) -> Tensor:
        return self.attn(h)


class ResNetTower(VisionTower):
    """CLIP's modified ResNet: the attention pool is the one block, all below it the stem."""

    open_blocks = False  # a pool reads tokens and hands none on
    lora_names = {key: CLIP_LORA_NAMES[key] for key in ("q", "k", "v", "o")}
    projection = "blocks.0.attn.out_proj"

    def __init__(self, visual: Any) -> None:
        super().__init__()
        pool = visual.attnpool
        self.positional_embedding = pool.positional_embedding
        self.blocks = nn.ModuleList([AttentionPool(pool)])
        visual.attnpool = nn.Identity()
        self.trunk = visual
        self.width = pool.q_proj.in_features
        size = image_size(visual)
        self.grid = (size[0] // 32, size[1] // 32)

    def stem(self, x: Tensor) -> Tensor:
        with self.autocast():
            x = self.trunk(x)  # (B, W, height, width): its pool is a block here
            tokens = x.flatten(2).transpose(1, 2)  # (B, N, W)
            tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
            return tokens + self.positional_embedding

    def head(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return h[:, 0], h[:, 1:]

    def finish(self, h: Tensor, start: int = 0, before_block: BeforeBlock | None = None) -> Tensor:
        if before_block is not None:
            self.require_open_blocks()
        if start >= self.num_blocks:
            return h[:, 0]
        with self.autocast():
            pool = self.blocks[0]
            assert isinstance(pool, AttentionPool)
            return pool.attn(h[:, :1], h).squeeze(1)


class CLIPTextTower(TextTower):
    """CLIP's causal text transformer; a prompt's feature is read at its end token."""

    lora_names = CLIP_LORA_NAMES

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.token_embedding = model.token_embedding
        self.positional_embedding = model.positional_embedding
        self.blocks = nn.ModuleList(open_block(b, causal=True) for b in model.transformer.resblocks)
        self.ln_final = model.ln_final
        self.text_projection = model.text_projection
        self.width = self.positional_embedding.shape[1]
        self.context_length = self.positional_embedding.shape[0]

    def embed(self, tokens: Tensor) -> Tensor:
        return self.token_embedding(tokens)

    def lengths(self, tokens: Tensor) -> Tensor:
        return tokens.argmax(dim=-1) + 1  # the end token has the highest id

    def stem(self, embeddings: Tensor) -> Tensor:
        """Embeddings (C, L, W) with their positions."""
        return embeddings + self.positional_embedding[: embeddings.shape[1]]

    def head(self, h: Tensor, tokens: Tensor) -> Tensor:
        ends = self._ends(h, tokens)
        with self.autocast():
            return self._project(h[torch.arange(len(h), device=h.device), ends])

    def _ends(self, h: Tensor, tokens: Tensor) -> Tensor:
        """The column of each prompt's end token (C,), behind all tokens that were added."""
        return self.lengths(tokens) - 1 + added_columns(h, tokens)

    def _project(self, rows: Tensor) -> Tensor:
        rows = self.ln_final(rows)
        if self.text_projection is None:
            return rows
        if isinstance(self.text_projection, nn.Module):
            return self.text_projection(rows)
        return rows @ self.text_projection

    def encode(
        self,
        embeddings: Tensor,
        tokens: Tensor,
        shared: int = 0,
        before_block: BeforeBlock | None = None,
    ) -> Tensor:
        length = self.longest(tokens)
        tokens = tokens[:, :length].to(embeddings.device)
        h = self.stem(embeddings[:, :length])
        with self.autocast():
            if shared > 1 and len(h) > 1 and before_block is None:
                row = self._last_rows_shared(h, self._ends(h, tokens), shared)
            else:
                last = self.num_blocks - 1
                h = self.run_blocks(h, 0, last, before_block)
                h, side = enter_block(before_block, last, h)
                ends = self._ends(h, tokens)
                row = _last(self).rows(h, ends)
                if side is not None:
                    row = row + side[torch.arange(len(h), device=h.device), ends]
            return self._project(row)

    def _last_rows_shared(self, h: Tensor, ends: Tensor, shared: int) -> Tensor:
        """As running all rows, with the first ``shared`` columns, equal in all of them, run once.

        Causal attention makes those columns' states independent of what follows, so each class adds
        only its own columns, which look back at the shared keys and values.
        """
        first, rest = h[:1, :shared], h[:, shared:]
        for block in list(self.blocks)[:-1]:
            assert isinstance(block, Block)
            first, rest = block.with_prefix(first, rest)
        return _last(self).rows(rest, ends - shared, prefix=first)


def _last(tower: Tower) -> Block:
    block = tower.blocks[-1]
    assert isinstance(block, Block)
    return block


def open_block(block: Any, causal: bool = False) -> Block:
    """A block of the clip package or open_clip with its fused attention taken apart."""
    if type(getattr(block.mlp, "gelu", None)).__name__ == "QuickGELU":
        block.mlp.gelu = QuickGELU()
    return Block(
        block.ln_1,
        Attention.from_torch(block.attn),
        block.ln_2,
        block.mlp,
        causal,
        getattr(block, "ls_1", None),
        getattr(block, "ls_2", None),
    )


def image_size(visual: Any) -> tuple[int, int]:
    """(height, width) of a vision tower's input; the two packages name it differently."""
    size = getattr(visual, "image_size", None) or visual.input_resolution
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
