"""Towers of open_clip's models: its own transformers, timm trunks and Hugging Face text encoders.

Where a tower has the structure of CLIP's, the classes of ``towers`` serve; here is what differs.
The library's own modules compute, apart from fused attention projections, which are taken apart so
that LoRA can reach them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cerviclip.vlm.base import (
    BeforeBlock,
    TextTower,
    VisionTower,
    added_columns,
    with_added,
)
from cerviclip.vlm.towers.openai_towers import (
    CLIP_LORA_NAMES,
    CLIPTextTower,
    ResNetTower,
    ViTTower,
    image_size,
    open_block,
)


def vision_tower(visual: Any) -> VisionTower:
    """The tower that fits the structure of an open_clip model's ``visual``."""
    trunk = getattr(visual, "trunk", None)
    if trunk is not None:
        return TimmViTTower(visual) if _is_plain_timm_vit(trunk) else TimmMapTower(visual)
    if hasattr(visual, "attnpool"):
        return ResNetTower(visual)
    if _is_plain_transformer(visual) and hasattr(visual, "class_embedding"):
        pool = getattr(visual, "attn_pool", None)
        if getattr(visual, "attn_pool_contrastive", None) is not None:
            return WholeVisionTower(visual)
        plain = pool is None and visual.pool_type == "tok" and not visual.final_ln_after_pool
        return ViTTower(visual) if plain else PooledViTTower(visual)
    return WholeVisionTower(visual)


def text_tower(model: Any) -> TextTower:
    """The tower that fits an open_clip model's text side."""
    text = getattr(model, "text", model)
    if hasattr(text, "pooler") and hasattr(text, "config"):
        return HFTextTower(text)
    pool = getattr(text, "pool_type", getattr(text, "text_pool_type", "argmax"))
    causal = text.attn_mask is not None and getattr(text, "cls_emb", None) is None
    if causal and pool == "argmax" and _is_plain_transformer(text):
        return CLIPTextTower(text)
    return MaskedTextTower(text)


def _is_plain_transformer(module: Any) -> bool:
    blocks = getattr(getattr(module, "transformer", None), "resblocks", None)
    return blocks is not None and all(isinstance(b.attn, nn.MultiheadAttention) for b in blocks)


def _is_plain_timm_vit(trunk: Any) -> bool:
    from timm.models.vision_transformer import VisionTransformer

    return isinstance(trunk, VisionTransformer) and all(
        isinstance(getattr(getattr(block, "attn", None), "qkv", None), nn.Linear)
        for block in trunk.blocks
    )


class PooledViTTower(ViTTower):
    """A ViT that pools otherwise than by its class token: mean, or attention as in CoCa."""

    def __init__(self, visual: Any) -> None:
        super().__init__(visual)
        self.pool_type = visual.pool_type
        self.attn_pool = visual.attn_pool
        self.ln_after = visual.attn_pool is None and visual.final_ln_after_pool

    def head(self, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.own_tokens(h)
        with self.autocast():
            if self.attn_pool is not None:
                tokens = self.ln_post(self.attn_pool(h))
                patches = self.ln_post(_values(self.attn_pool, h[:, 1:]))
            else:
                tokens = h if self.ln_after else self.ln_post(h)
                patches = self.ln_post(h[:, 1:])
            mean = self.pool_type == "avg"
            pooled = tokens[:, 1:].mean(dim=1) if mean else tokens[:, 0]
            if self.ln_after:
                pooled = self.ln_post(pooled)
            return pooled @ self.proj, patches @ self.proj

    def finish(self, h: Tensor, start: int = 0, before_block: BeforeBlock | None = None) -> Tensor:
        return self.head(self.run_blocks(h, start, before_block=before_block))[0]


def _values(pool: Any, tokens: Tensor) -> Tensor:
    """Each token through an attention pooler as if it alone were attended to."""
    attn = pool.attn
    dim = attn.embed_dim
    weight = attn.v_proj_weight if attn.v_proj_weight is not None else attn.in_proj_weight[-dim:]
    return attn.out_proj(F.linear(pool.ln_k(tokens), weight, attn.in_proj_bias[-dim:]))


class SplitLinear(nn.Module):
    """A fused qkv projection as three layers, whose outputs stand side by side as before."""

    def __init__(self, fused: nn.Linear) -> None:
        super().__init__()
        biases = [None] * 3 if fused.bias is None else fused.bias.chunk(3)
        layers = []
        for weight, bias in zip(fused.weight.chunk(3), biases, strict=True):
            layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
            layer.weight = nn.Parameter(weight.detach().clone())
            if bias is not None:
                layer.bias = nn.Parameter(bias.detach().clone())
            layers.append(layer)
        self.q, self.k, self.v = layers

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.q(x), self.k(x), self.v(x)], dim=-1)


class TimmViTTower(VisionTower):
    """A timm vision transformer under open_clip's head (BiomedCLIP, SigLIP, ...)."""

    lora_names = {
        "q": ("attn.qkv.q",),
        "k": ("attn.qkv.k",),
        "v": ("attn.qkv.v",),
        "o": ("attn.proj",),
        "mlp": ("mlp.fc1", "mlp.fc2"),
    }
    projection = "top.proj"

    def __init__(self, visual: Any) -> None:
        super().__init__()
        trunk = visual.trunk
        for block in trunk.blocks:
            block.attn.qkv = SplitLinear(block.attn.qkv)
        self.blocks = nn.ModuleList(trunk.blocks)
        trunk.blocks = nn.Sequential()  # they are this tower's now
        self.trunk = trunk
        self.top = visual.head
        self.width = trunk.embed_dim
        self.prefix = trunk.num_prefix_tokens
        self.grid = tuple(trunk.patch_embed.grid_size)

    def stem(self, x: Tensor) -> Tensor:
        trunk = self.trunk
        with self.autocast():
            return trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(x))))

    def head(self, h: Tensor) -> tuple[Tensor, Tensor]:
        trunk = self.trunk
        with self.autocast():
            tokens = trunk.norm(self.own_tokens(h))
            patches = tokens[:, self.prefix :]
            if getattr(trunk, "attn_pool", None) is not None:
                patches = _latent_values(trunk.attn_pool, patches)
            patches = self.top(trunk.head(trunk.head_drop(trunk.fc_norm(patches))))
            return self.top(trunk.forward_head(tokens)), patches


def _latent_values(pool: Any, tokens: Tensor) -> Tensor:
    """Each token through timm's attention pooling as if it alone were attended to."""
    values = pool.kv(tokens).chunk(2, dim=-1)[1]
    x = pool.proj_drop(pool.proj(values))
    return x + pool.mlp(pool.norm(x))


class TimmMapTower(VisionTower):
    """Another timm trunk (ConvNeXt, ResNet ...): its last feature map as tokens, no blocks."""

    open_blocks = False

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.trunk, self.top = visual.trunk, visual.head
        size = image_size(visual)
        with torch.no_grad():
            features = self.trunk.eval().forward_features(torch.zeros(1, 3, *size))
        if features.dim() == 4:
            self.last = features.shape[-1] == self.trunk.num_features
            self.width = self.trunk.num_features
            self.grid = tuple(features.shape[1:3] if self.last else features.shape[2:])
        else:
            self.last, self.width, self.grid = False, features.shape[-1], (features.shape[1], 1)
        self.is_map = features.dim() == 4

    def stem(self, x: Tensor) -> Tensor:
        with self.autocast():
            features = self.trunk.forward_features(x)
        if not self.is_map:
            return features
        return features.flatten(1, 2) if self.last else features.flatten(2).transpose(1, 2)

    def _pool(self, h: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.is_map:
            h = h.unflatten(1, grid) if self.last else h.transpose(1, 2).unflatten(2, grid)
        return self.top(self.trunk.forward_head(h))

    def head(self, h: Tensor) -> tuple[Tensor, Tensor]:
        with self.autocast():
            single = h.flatten(0, 1).unsqueeze(1)  # each place as a map of its own
            patches = self._pool(single, (1, 1)).unflatten(0, h.shape[:2])
            return self._pool(h, self.grid), patches

    def finish(self, h: Tensor, start: int = 0, before_block: BeforeBlock | None = None) -> Tensor:
        h = self.run_blocks(h, start, before_block=before_block)
        with self.autocast():
            return self._pool(h, self.grid)


class WholeVisionTower(VisionTower):
    """A network whose inside is unknown: the image is its one patch, and there are no blocks."""

    grid = (1, 1)
    open_blocks = False

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.visual = visual

    def stem(self, x: Tensor) -> Tensor:
        with self.autocast():
            features = self.visual(x)
        features = features[0] if isinstance(features, tuple) else features
        return features.unsqueeze(1)

    def head(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return h[:, 0], h


class MaskedTextTower(TextTower):
    """open_clip's text transformer where it is not CLIP's: other masks, pooling, a class token."""

    causal = False  # positions count from both ends here: all columns are run

    def __init__(self, text: Any) -> None:
        super().__init__()
        self.text = text
        blocks = text.transformer.resblocks
        if _is_plain_transformer(text):
            self.lora_names = CLIP_LORA_NAMES
            blocks = [open_block(b) for b in blocks]
        self.blocks = nn.ModuleList(blocks)
        text.transformer.resblocks = nn.ModuleList()  # they are this tower's now
        self.has_class_token = getattr(text, "cls_emb", None) is not None
        self.width = text.token_embedding.embedding_dim
        self.context_length = text.context_length
        self.pad_id = getattr(text, "pad_id", 0)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.text.token_embedding(tokens)

    def lengths(self, tokens: Tensor) -> Tensor:
        places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        return ((tokens != self.pad_id) * places).amax(dim=-1)

    def longest(self, tokens: Tensor) -> int:
        return tokens.shape[1]

    def stem(self, embeddings: Tensor) -> Tensor:
        """Embeddings (C, L, W) and, where there is one, the class token behind them, with their
        positions."""
        h = embeddings
        with self.autocast():
            if self.has_class_token:
                h = torch.cat([h, self.text.cls_emb.expand(h.shape[0], 1, -1)], dim=1)
            return h + self.text.positional_embedding[: h.shape[1]]

    def head(self, h: Tensor, tokens: Tensor) -> Tensor:
        from open_clip.transformer import text_global_pool

        text = self.text
        with self.autocast():
            if self.has_class_token:
                pooled = text.ln_final(h[:, -1])
            else:
                eos = getattr(text, "eos_id", getattr(text, "text_eos_id", None))
                pool = getattr(text, "pool_type", getattr(text, "text_pool_type", "argmax"))
                ids = with_added(tokens, added_columns(h, tokens))
                pooled = text_global_pool(text.ln_final(h), ids, pool, eos_token_id=eos)
            projection = text.text_projection
            if projection is None:
                return pooled
            is_layer = isinstance(projection, nn.Module)
            return projection(pooled) if is_layer else pooled @ projection

    def attention_mask(self, h: Tensor, tokens: Tensor | None) -> Tensor | None:
        """Causal, real tokens, or both (additive; None: everything may be attended to)."""
        text, length = self.text, h.shape[1]
        mask = text.attn_mask
        if mask is not None:
            if length > len(mask):  # tokens were added
                mask = mask.new_full((length, length), float("-inf")).triu(1)
            mask = mask[:length, :length]
        if getattr(text, "use_pad_mask", False) or self.has_class_token:
            if tokens is None:
                raise ValueError(f"{type(self).__name__}.run_blocks needs tokens for its mask")
            own = h[:, :-1] if self.has_class_token else h
            ids = with_added(tokens, added_columns(own, tokens))
            pads = text._build_additive_mask(ids, length, h.dtype)
            pads = pads.view(len(h), -1, length, length)[:, :1]  # the same for every head
            mask = pads if mask is None else mask + pads
        return mask


# For each LoRA target the names under which Hugging Face encoders keep their layers.
_HF_LAYERS = {
    "q": ("attention.self.query", "attention.q_lin", "layer.0.SelfAttention.q"),
    "k": ("attention.self.key", "attention.k_lin", "layer.0.SelfAttention.k"),
    "v": ("attention.self.value", "attention.v_lin", "layer.0.SelfAttention.v"),
    "o": ("attention.output.dense", "attention.out_lin", "layer.0.SelfAttention.o"),
    "mlp": ("intermediate.dense", "output.dense", "ffn.lin1", "ffn.lin2"),
}


# Encoders that are embeddings, blocks that take a mask, and nothing else.
_OPEN_HF_TYPES = ("bert", "roberta", "xlm-roberta", "camembert")


class HFTextTower(TextTower):
    """A Hugging Face encoder (BERT, RoBERTa ...) under open_clip's pooler and projection.

    Others than those of ``_OPEN_HF_TYPES`` run as a whole: they have neither stem nor head.
    """

    causal = False

    def __init__(self, text: Any) -> None:
        super().__init__()
        self.text = text
        self.pad_id = text.config.pad_token_id
        self.width = text.transformer.get_input_embeddings().embedding_dim
        self.context_length = text.context_length
        self.open_blocks = text.config.model_type in _OPEN_HF_TYPES
        if len(self.blocks):
            known = {name for name, _ in self.blocks[0].named_modules()}
            found = {t: tuple(n for n in names if n in known) for t, names in _HF_LAYERS.items()}
            self.lora_names = {target: names for target, names in found.items() if names}

    @property
    def blocks(self) -> nn.ModuleList:  # type: ignore[override]
        """The encoder's own list: its modules stay where the library runs them."""
        net = self.text.transformer
        for path in ("encoder.layer", "transformer.layer", "layer", "block"):
            part = net
            for name in path.split("."):
                part = getattr(part, name, None)
            if isinstance(part, nn.ModuleList):
                return part
        return nn.ModuleList()

    def embed(self, tokens: Tensor) -> Tensor:
        return self.text.transformer.get_input_embeddings()(tokens)

    def lengths(self, tokens: Tensor) -> Tensor:
        return (tokens != self.pad_id).sum(dim=-1)

    def stem(self, embeddings: Tensor) -> Tensor:
        self.require_open_blocks("stem, run_blocks and head")
        with self.autocast():
            return self.text.transformer.embeddings(inputs_embeds=embeddings)

    def run_block(self, index: int, h: Tensor, mask: Tensor | None) -> Tensor:
        out = self.blocks[index](h, mask)
        return out[0] if isinstance(out, tuple) else out  # by the version of transformers

    def attention_mask(self, h: Tensor, tokens: Tensor | None) -> Tensor:
        if tokens is None:
            raise ValueError(f"{type(self).__name__}.run_blocks needs tokens for its mask")
        real = self._real(h, tokens)[:, None, None, :]
        return torch.zeros_like(real, dtype=h.dtype).masked_fill(~real, torch.finfo(h.dtype).min)

    def _real(self, h: Tensor, tokens: Tensor) -> Tensor:
        """Which tokens (C, T) are no padding."""
        return with_added(tokens, added_columns(h, tokens)) != self.pad_id

    def head(self, h: Tensor, tokens: Tensor) -> Tensor:
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        self.require_open_blocks("stem, run_blocks and head")
        pooler = self.text.transformer.pooler
        with self.autocast():
            out = BaseModelOutputWithPooling(
                last_hidden_state=h, pooler_output=None if pooler is None else pooler(h)
            )
            return self.text.proj(self.text.pooler(out, self._real(h, tokens).long()))

    def encode(
        self,
        embeddings: Tensor,
        tokens: Tensor,
        shared: int = 0,
        before_block: BeforeBlock | None = None,
    ) -> Tensor:
        if before_block is not None:
            return super().encode(embeddings, tokens, before_block=before_block)
        length = self.longest(tokens)
        tokens = tokens[:, :length].to(embeddings.device)
        real = (tokens != self.pad_id).long()
        with self.autocast():
            out = self.text.transformer(inputs_embeds=embeddings[:, :length], attention_mask=real)
            return self.text.proj(self.text.pooler(out, real))
