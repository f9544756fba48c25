"""OpenAI's CLIP: built by the ``clip`` package from a state dict, then opened up for adaptation.

The package's own modules hold the weights; its fused attention becomes one with separate q, k, v
and output layers (``blocks.Attention``), batch first, so that LoRA can reach each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cerviclip.backbones.names import ANY_CLIP, OPENAI_GEOMETRY
from cerviclip.vlm.base import Backbone, Preprocess
from cerviclip.vlm.towers.clip_package import import_clip
from cerviclip.vlm.towers.openai_towers import CLIPTextTower, ResNetTower, ViTTower
from dassl.errors import UserError

GEOMETRY_FIELDS = (
    "embed_dim",
    "image_resolution",
    "vision_layers",
    "vision_width",
    "vision_patch_size",
    "context_length",
    "vocab_size",
    "transformer_width",
    "transformer_heads",
    "transformer_layers",
)


def geometry(state: dict[str, Tensor], source: str) -> tuple:
    """The arguments of ``clip.model.CLIP`` that these weights belong to.

    Raises:
        UserError: if the tensors are not those of a CLIP in OpenAI's architecture.
    """
    try:
        if "visual.proj" in state or any(_in(key, "visual.transformer") for key in state):
            width, _, patch, _ = state["visual.conv1.weight"].shape
            layers: Any = len({k.split(".")[3] for k in state if _in(k, "visual.transformer")})
            side = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
            resolution = side * patch
        else:
            layers = tuple(
                len({k.split(".")[2] for k in state if k.startswith(f"visual.layer{i}.")})
                for i in (1, 2, 3, 4)
            )
            width, patch = state["visual.layer1.0.conv1.weight"].shape[0], None
            positions = state["visual.attnpool.positional_embedding"].shape[0]
            resolution = round((positions - 1) ** 0.5) * 32
        text_width = state["ln_final.weight"].shape[0]
        return (
            state["text_projection"].shape[1],
            resolution,
            layers,
            width,
            patch,
            state["positional_embedding"].shape[0],
            state["token_embedding.weight"].shape[0],
            text_width,
            max(1, text_width // 64),
            len({k.split(".")[2] for k in state if _in(k, "transformer")}),
        )
    except (KeyError, ValueError, IndexError) as error:
        some = ", ".join(sorted(state)[:3])
        raise UserError(
            f"{source} holds no weights in OpenAI's CLIP format: {error} is missing or misshapen, "
            f"found {len(state)} tensors ({some} ...); give a CLIP checkpoint, or choose the "
            "backbone it belongs to (open_clip:<arch>, torchvision:<arch>)"
        ) from error


def _in(key: str, prefix: str) -> bool:
    return key.startswith(f"{prefix}.resblocks.")


def describe(geo: tuple) -> str:
    """A geometry in words, by the name of the model where it has one."""
    for name, known in OPENAI_GEOMETRY.items():
        if known == geo:
            return name
    g = dict(zip(GEOMETRY_FIELDS, geo, strict=True))
    kind = "ResNet" if isinstance(g["vision_layers"], tuple) else "ViT"
    layers = g["vision_layers"]
    depth = "-".join(map(str, layers)) if isinstance(layers, tuple) else layers
    patch = f"p{g['vision_patch_size']}-" if g["vision_patch_size"] else ""
    return (
        f"{kind}-w{g['vision_width']}-l{depth}-{patch}{g['image_resolution']}px"
        f"-t{g['transformer_width']}x{g['transformer_layers']}-d{g['embed_dim']}"
    )


def build_clip(state: dict[str, Tensor], source: str, expected: str | None = None) -> nn.Module:
    """``clip.model.CLIP`` with these weights in float32, in evaluation mode, frozen.

    Args:
        state: tensors under OpenAI's names.
        source: the file's name, for messages.
        expected: OpenAI name whose geometry the weights must have; None: any.

    Raises:
        UserError: for another architecture, and for missing, unknown or misshapen tensors.
    """
    import_clip()
    from clip.model import CLIP

    geo = geometry(state, source)
    if expected is not None and geo != OPENAI_GEOMETRY[expected]:
        raise UserError(
            f"{source} is not a {expected}: found {describe(geo)}, expected "
            f"{_differences(OPENAI_GEOMETRY[expected], geo)}; give the weights of {expected} or "
            f"set MODEL.BACKBONE.NAME to what they are ({ANY_CLIP} takes any size)"
        )
    with torch.device("meta"):  # no time lost on random values that are overwritten at once
        model = CLIP(*geo)
    state = {
        key: value.float() if value.is_floating_point() else value
        for key, value in state.items()
        if key not in ("input_resolution", "context_length", "vocab_size")
    }
    if "logit_scale" in state and state["logit_scale"].numel() == 1:
        state["logit_scale"] = state["logit_scale"].reshape(())  # some scripts save it as (1,)
    _check_tensors(model.state_dict(), state, source, describe(geo))
    model.load_state_dict(state, strict=False, assign=True)
    return model.eval().requires_grad_(False)


def random_state(name: str) -> dict[str, Tensor]:
    """Random weights of an OpenAI architecture, always the same, under OpenAI's names."""
    CLIP = import_clip().model.CLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CLIP(*OPENAI_GEOMETRY[name]).float().state_dict()


def _differences(expected: tuple, found: tuple) -> str:
    pairs = zip(GEOMETRY_FIELDS, expected, found, strict=True)
    return ", ".join(f"{name} {want} (found {have})" for name, want, have in pairs if want != have)


def _check_tensors(
    wanted: dict[str, Tensor], state: dict[str, Tensor], source: str, arch: str
) -> None:
    missing = sorted(set(wanted) - set(state))
    for key in list(missing):
        if key.endswith("num_batches_tracked"):  # counts training batches; inference reads it never
            state[key] = torch.zeros((), dtype=torch.long)
            missing.remove(key)
    unknown = sorted(set(state) - set(wanted))
    if missing or unknown:
        words = [f"{len(missing)} tensors missing (first: {missing[0]})"] if missing else []
        words += [f"{len(unknown)} unknown (first: {unknown[0]})"] if unknown else []
        raise UserError(f"{source} is not a whole {arch}: {', '.join(words)}; fetch the file again")
    for key, value in state.items():
        if value.shape != wanted[key].shape:
            raise UserError(
                f"{source}: {key} has shape {tuple(value.shape)}, {arch} needs "
                f"{tuple(wanted[key].shape)}"
            )


def clip_tokenize(texts: Sequence[str], context_length: int = 77) -> Tensor:
    """OpenAI's byte-pair tokens (C, L); a text that is too long loses its end, with a warning."""
    clip = import_clip()
    tokens = clip.tokenize(list(texts), context_length=context_length, truncate=True)
    for text, row in zip(texts, tokens, strict=True):
        if row[-1] != 0:
            _warn_if_cut(clip, text, context_length)
    return tokens


def _warn_if_cut(clip: Any, text: str, context_length: int) -> None:
    import warnings

    count = len(clip.clip._tokenizer.encode(text)) + 2
    if count > context_length:
        warnings.warn(
            f"prompt of {count} tokens cut to {context_length}: {text[:60]}...", stacklevel=4
        )


def build_backbone(
    name: str,
    state: dict[str, Tensor],
    *,
    source: str,
    expected: str | None = None,
    weights_sha256: str = "",
    preprocess: Preprocess | None = None,
) -> Backbone:
    """A frozen float32 ``Backbone`` from tensors under OpenAI's names."""
    model = build_clip(state, source, expected)
    geo = dict(zip(GEOMETRY_FIELDS, geometry(state, source), strict=True))
    vit = hasattr(model.visual, "proj")
    size = geo["image_resolution"]
    return Backbone(
        name=name,
        arch=describe(tuple(geo.values())) if expected is None else expected,
        visual=ViTTower(model.visual) if vit else ResNetTower(model.visual),
        text=CLIPTextTower(model),
        tokenizer=partial(clip_tokenize, context_length=geo["context_length"]),
        preprocess=preprocess or Preprocess(size=(size, size)),
        embed_dim=geo["embed_dim"],
        logit_scale=state["logit_scale"],
        weights_sha256=weights_sha256,
        weights_file=source,
    )
