"""The ``clip`` package's own CLIP, whole, and training written out on it: what our towers are held
against. Nothing of cerviclip's towers, trainers or optimisers is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn


def package_clip(path: Path) -> nn.Module:
    """``clip.model.CLIP`` of a safetensors file: float32, in evaluation mode, nothing learns."""
    from cerviclip.vlm.towers.clip_package import import_clip
    from cerviclip.vlm.towers.openai import geometry

    state = load_file(path)
    model = import_clip().model.CLIP(*geometry(state, str(path)))
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def features(model: Any, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Unit features of images (B, D) and of prompts (P, D)."""
    images, texts = model.encode_image(pixels), model.encode_text(tokens)
    return F.normalize(images, dim=-1), F.normalize(texts, dim=-1)


def zero_shot_logits(model: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    """exp(logit_scale) f . t (B, C) with one prompt for each class."""
    images, texts = features(model, pixels, tokens)
    return model.logit_scale.exp() * images @ texts.t()


def losses_of_adamw(
    parameters: Iterable[nn.Parameter],
    loss_of: Callable[[dict[str, Any]], Tensor],
    batches: Iterable[dict[str, Any]],
    lr: float,
    weight_decay: float,
) -> list[Tensor]:
    """The loss of each batch while torch's AdamW learns from them, at one rate."""
    optim = torch.optim.AdamW(list(parameters), lr=lr, weight_decay=weight_decay)
    losses = []
    for batch in batches:
        loss = loss_of(batch)
        optim.zero_grad()
        loss.backward()
        optim.step()
        losses.append(loss.detach())
    return losses


def losses_of_trainer(trainer: Any, batches: Iterable[dict[str, Any]]) -> list[Tensor]:
    """The same of a trainer's own steps."""
    trainer.prepare_training()
    trainer.set_model_mode("train")
    trainer.batch_idx, trainer.num_batches = 0, 1000  # so the rate stays
    return [trainer.forward_backward(batch)["loss"] for batch in batches]
