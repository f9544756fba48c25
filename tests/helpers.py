"""Small stand-ins that several tests build on: a CLIP in OpenAI's architecture, image folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image


def tiny_clip_state_dict(
    *,
    seed: int = 0,
    embed_dim: int = 32,
    image_size: int = 32,
    patch: int = 8,
    vision_width: int = 64,
    vision_layers: int = 2,
    text_width: int = 64,
    text_layers: int = 2,
    context_length: int = 77,
    vocab_size: int = 49408,
) -> dict[str, torch.Tensor]:
    """Random weights of a small ViT CLIP, under OpenAI's names (heads are width // 64)."""
    from cerviclip.vlm.towers.clip_package import import_clip

    CLIP = import_clip().model.CLIP

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIP(
            embed_dim,
            image_size,
            vision_layers,
            vision_width,
            patch,
            context_length,
            vocab_size,
            text_width,
            max(1, text_width // 64),
            text_layers,
        )
    return {key: value.clone() for key, value in model.state_dict().items()}


def write_images(
    root: Path,
    classes: dict[str, int],
    *,
    size: int = 32,
    patients: int = 0,
    suffix: str = ".png",
    seed: int = 0,
) -> list[Path]:
    """Write ``classes[name]`` learnable images to ``root/name/``; each class has its own colour.

    With ``patients`` > 0 file names carry patient ids of the OCT form (``P`` and seven digits),
    others for another seed.
    """
    rng = np.random.default_rng(seed)
    paths = []
    for c, (name, count) in enumerate(classes.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
            pixels[..., c % 3] += np.uint8(120 + 20 * (c // 3))
            number = 10_000 * (c + 10 * seed) + i % max(patients, 1)
            patient = f"M0001_2021_P{number:07d}_" if patients else ""
            path = folder / f"{patient}img_{i:03d}{suffix}"
            Image.fromarray(pixels).save(path)
            paths.append(path)
    return paths
