"""The backbones there are, one line each, and what the OpenAI ones look like. Imports
nothing heavy.

``--list`` reads this file without torch; ``load_backbone`` reads the same tables.
"""

from __future__ import annotations

import re

from cerviclip.backbones.published import PUBLISHED

OPENAI_URL = "https://openaipublic.azureedge.net/clip/models"

# name: (file, sha256; the official address contains it)
OPENAI_FILES = {
    "RN50": (
        "RN50.pt",
        "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    ),
    "RN101": (
        "RN101.pt",
        "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
    ),
    "ViT-B/32": (
        "ViT-B-32.pt",
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    ),
    "ViT-B/16": (
        "ViT-B-16.pt",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    ),
    "ViT-L/14": (
        "ViT-L-14.pt",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    ),
    "ViT-L/14@336px": (
        "ViT-L-14-336px.pt",
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
    ),
}

# The arguments of clip.model.CLIP: embed_dim, image_resolution, vision_layers, vision_width,
# vision_patch_size, context_length, vocab_size, transformer_width, transformer_heads,
# transformer_layers.
OPENAI_GEOMETRY: dict[str, tuple] = {
    "RN50": (1024, 224, (3, 4, 6, 3), 64, None, 77, 49408, 512, 8, 12),
    "RN101": (512, 224, (3, 4, 23, 3), 64, None, 77, 49408, 512, 8, 12),
    "ViT-B/32": (512, 224, 12, 768, 32, 77, 49408, 512, 8, 12),
    "ViT-B/16": (512, 224, 12, 768, 16, 77, 49408, 512, 8, 12),
    "ViT-L/14": (768, 224, 24, 1024, 14, 77, 49408, 768, 12, 12),
    "ViT-L/14@336px": (768, 336, 24, 1024, 14, 77, 49408, 768, 12, 12),
}

# Kinds of vision tower: a transformer with blocks of tokens, CLIP's ResNet, image features alone.
VIT, RESNET, FEATURES = VISION_TOWERS = ("vit", "resnet", "features")
ANY_CLIP = "CLIP"
PHANTOM = "PhantomCLIP"
PREFIXES = ("open_clip:", "torchvision:", "timm:")
EMBEDDINGS = "embeddings:"

BACKBONES = {
    PHANTOM: "small CLIP pre-trained on OCT phantoms, shipped here; for trying out only",
    "RN50": "OpenAI CLIP, ResNet-50, 224 px, features 1024",
    "RN101": "OpenAI CLIP, ResNet-101, 224 px, features 512",
    "ViT-B/32": "OpenAI CLIP, ViT-B, patch 32, 224 px, features 512",
    "ViT-B/16": "OpenAI CLIP, ViT-B, patch 16, 224 px, features 512",
    "ViT-L/14": "OpenAI CLIP, ViT-L, patch 14, 224 px, features 768",
    "ViT-L/14@336px": "OpenAI CLIP, ViT-L, patch 14, 336 px, features 768",
    ANY_CLIP: "OpenAI's architecture at any size, as read from --weights FILE",
    **{name: entry.summary for name, entry in PUBLISHED.items()},
    "open_clip:<arch>[:<pretrained or path>]": "any other open_clip model",
    "torchvision:<arch>": "a CNN or ViT of torchvision as image features (resnet50, vit_b_16 ...)",
    "timm:<arch>": "a model of timm as image features",
    f"{EMBEDDINGS}<file>": "features made elsewhere (npz, h5, parquet), by the images' paths",
}


def file_part(name: str) -> str:
    """What stands where a name may hold a file or a folder: behind ``library:arch:`` or
    ``embeddings:``. A path may have colons of its own."""
    if name.startswith(EMBEDDINGS):
        return name.removeprefix(EMBEDDINGS)
    return name.partition(":")[2].partition(":")[2]


def known_towers(name: str) -> tuple[str, bool] | None:
    """Kind of vision tower, and whether there are texts, as far as a backbone's name tells it.

    None where only the weights tell it: another open_clip model, a file of any size.
    """
    if name in OPENAI_GEOMETRY:
        return (RESNET if isinstance(OPENAI_GEOMETRY[name][2], tuple) else VIT), True
    if name == PHANTOM:
        return VIT, True
    if name in PUBLISHED:  # all are transformers
        return VIT, PUBLISHED[name].has_text
    if name.startswith(("torchvision:", "timm:", EMBEDDINGS)):
        return FEATURES, False
    arch = name.removeprefix("open_clip:")
    if arch != name and re.match(r"(ViT|RN)[-\d]", arch):
        return (RESNET if arch.startswith("RN") else VIT), True
    return None


def no_text_encoder(trainer: str, backbone: str, fitting: str = "ViT-B/16") -> str:
    """The error of a trainer with ``needs_text`` on a backbone without texts; both ways out.

    Args:
        trainer: its name.
        backbone: the backbone's name.
        fitting: names of backbones that serve it.
    """
    return (
        f"{trainer} needs a text encoder and {backbone} has none; choose a vision-language "
        f"backbone such as {fitting} (--backbone). A trainer of your own that uses no texts sets "
        "needs_text = False in its class (CONTRIBUTING.md)"
    )
