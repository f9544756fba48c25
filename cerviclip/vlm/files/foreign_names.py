"""Weights under other libraries' tensor names, turned into the names that our builders read.

transformers keeps CLIP and SigLIP with q, k and v apart; DINOv2 keeps its blocks in chunks, beside
heads and a mask token that only its training needs. Values are never changed, only joined, parted
or transposed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]

_TRANSFORMERS = ("vision_model.", "text_model.")
_IDS = re.compile(r"\.position_ids$")
# What the training of DINOv2 keeps beside the network.
_DINO_HEADS = ("dino_head.", "ibot_head.", "dino_loss.", "ibot_patch_loss.")


def is_transformers(state: State) -> bool:
    """Whether these are a CLIP's or SigLIP's tensors as transformers names them."""
    return all(any(key.startswith(prefix) for key in state) for prefix in _TRANSFORMERS)


def openai_names(state: State) -> dict[str, Tensor]:
    """transformers' CLIP under OpenAI's names; another state dict as it is."""
    if not is_transformers(state) or "visual_projection.weight" not in state:
        return dict(state)
    out = _renamed(state, _CLIP_ONE_TO_ONE)
    for key in ("visual.proj", "text_projection"):
        if key in out:
            out[key] = out[key].t().contiguous()
    blocks = {"vision_model": "visual.transformer.resblocks", "text_model": "transformer.resblocks"}
    for source, target in blocks.items():
        out |= _layers(state, f"{source}.encoder.layers", target, _CLIP_LAYER, _IN_PROJ)
    return out


def siglip_names(state: State) -> dict[str, Tensor]:
    """transformers' SigLIP under open_clip's names; another state dict as it is."""
    if not is_transformers(state) or "vision_model.head.probe" not in state:
        return dict(state)
    out = _renamed(state, _SIGLIP_ONE_TO_ONE)
    positions = "visual.trunk.pos_embed"
    if positions in out:
        out[positions] = out[positions].unsqueeze(0)
    out |= _layers(
        state, "vision_model.encoder.layers", "visual.trunk.blocks", _TIMM_LAYER, _TIMM_QKV
    )
    out |= _layers(
        state, "text_model.encoder.layers", "text.transformer.resblocks", _CLIP_LAYER, _IN_PROJ
    )
    for kind in ("weight", "bias"):  # timm has the query's projection apart
        joined = state.get(f"vision_model.head.attention.in_proj_{kind}")
        if joined is not None:
            width = len(joined) // 3
            out[f"visual.trunk.attn_pool.q.{kind}"] = joined[:width]
            out[f"visual.trunk.attn_pool.kv.{kind}"] = joined[width:]
    return out


def timm_names(state: State) -> dict[str, Tensor]:
    """DINOv2's network under timm's names, whole or in chunks of blocks, of the teacher of a
    training checkpoint or alone; a state dict of timm as it is."""
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.startswith(_DINO_HEADS) or key.endswith("mask_token"):
            continue
        name = key.removeprefix("backbone.")
        name = re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name)  # the inner number counts all
        name = name.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2.")
        out[name] = value
    return out


def _renamed(state: State, names: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors that a table of beginnings names, under the other names."""
    out = {}
    for key, value in state.items():
        start = next((name for name in names if key == name or key.startswith(f"{name}.")), None)
        if start is not None and not _IDS.search(key):
            out[names[start] + key[len(start) :]] = value
    return out


def _layers(
    state: State,
    source: str,
    target: str,
    names: Mapping[str, str],
    joined: str,
) -> dict[str, Tensor]:
    """All blocks of a transformer, q, k and v joined.

    Args:
        source, target: lists of blocks in the old and the new names.
        names: parts of a block, old to new.
        joined: name of the projection that holds q, k and v, with {} for weight or bias.
    """
    out: dict[str, Tensor] = {}
    numbers = {int(m[1]) for key in state if (m := re.match(rf"{re.escape(source)}\.(\d+)\.", key))}
    for number in sorted(numbers):
        prefix = f"{source}.{number}."
        own = {key[len(prefix) :]: v for key, v in state.items() if key.startswith(prefix)}
        out |= {f"{target}.{number}.{key}": v for key, v in _renamed(own, names).items()}
        for kind in ("weight", "bias"):
            parts = [own.get(f"self_attn.{letter}_proj.{kind}") for letter in "qkv"]
            if all(part is not None for part in parts):
                out[f"{target}.{number}.{joined.format(kind)}"] = torch.cat(parts)  # type: ignore[arg-type]
    return out


# The projection that holds q, k and v, with {} for weight or bias.
_IN_PROJ, _TIMM_QKV = "attn.in_proj_{}", "attn.qkv.{}"

_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_TIMM_LAYER = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "self_attn.out_proj": "attn.proj",
}
_CLIP_ONE_TO_ONE = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding": "visual.conv1",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm": "visual.ln_pre",  # as transformers spells it
    "vision_model.post_layernorm": "visual.ln_post",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_projection.weight": "text_projection",
    "logit_scale": "logit_scale",
}
_SIGLIP_ONE_TO_ONE = {
    "vision_model.embeddings.patch_embedding": "visual.trunk.patch_embed.proj",
    "vision_model.embeddings.position_embedding.weight": "visual.trunk.pos_embed",
    "vision_model.post_layernorm": "visual.trunk.norm",
    "vision_model.head.probe": "visual.trunk.attn_pool.latent",
    "vision_model.head.attention.out_proj": "visual.trunk.attn_pool.proj",
    "vision_model.head.layernorm": "visual.trunk.attn_pool.norm",
    "vision_model.head.mlp": "visual.trunk.attn_pool.mlp",
    "text_model.embeddings.token_embedding": "text.token_embedding",
    "text_model.embeddings.position_embedding.weight": "text.positional_embedding",
    "text_model.final_layer_norm": "text.ln_final",
    "text_model.head": "text.text_projection",
    "logit_scale": "logit_scale",
    "logit_bias": "logit_bias",
}
