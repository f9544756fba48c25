"""Published medical backbones by name: what each is, where its weights are, what it needs.

The table says of each what its authors say: architecture, preprocessing, activation, licence. The
docs page docs/backbones.md says which of it was checked, and against what. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

CLIP_STATISTICS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF_STATISTICS = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

# How the weights are read: tensors of OpenAI's or transformers' CLIP; a config of open_clip; a
# vision transformer of timm; CONCH's vision tower.
CLIP, OPEN_CLIP, TIMM_VIT, CONCH_VISION = KINDS = ("clip", "open_clip", "timm_vit", "conch")


@dataclass(frozen=True)
class Published:
    """A published backbone.

    Attributes:
        summary: a line for the list.
        kind: how it is built, one of ``KINDS``.
        arch: of ``clip`` the OpenAI name under ``name``; of ``open_clip`` its model_cfg; of the
            others arguments of timm's ``VisionTransformer``.
        embed_dim: D of its features.
        place: where the weights are to be had.
        file: the weights' file there.
        licence: of the weights, in the words of their page.
        gate: what must be done before they can be downloaded; empty for nothing.
        size: px of the input's side.
        statistics: mean and std of the pixels in 0-1.
        interpolation: of the resize.
        resize: as ``Preprocess.resize``.
        quick_gelu: whether the towers have QuickGELU.
        has_text: whether texts are encoded.
        sha256: beginnings of the hashes of its known files.
    """

    summary: str
    kind: str
    arch: Mapping[str, Any]
    embed_dim: int
    place: str
    file: str
    licence: str
    gate: str = ""
    size: int = 224
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = CLIP_STATISTICS
    interpolation: str = "bicubic"
    resize: str = "shortest"
    quick_gelu: bool = False
    has_text: bool = True
    sha256: tuple[str, ...] = field(default=())


def _open_clip(patch: int) -> dict[str, Any]:
    """open_clip's ViT-B, as QuiltNet's open_clip_config.json has it."""
    return {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": patch},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 512,
            "heads": 8,
            "layers": 12,
        },
    }


_PUBMED_BERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
_BIOMEDCLIP = {
    "embed_dim": 512,
    "vision_cfg": {
        "timm_model_name": "vit_base_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    },
    "text_cfg": {
        "hf_model_name": _PUBMED_BERT,
        "hf_tokenizer_name": _PUBMED_BERT,
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 256,
    },
}
# open_clip's ViT-SO400M-14-SigLIP-384 at 448 px, with the GELU that SigLIP was trained with.
_MEDSIGLIP = {
    "embed_dim": 1152,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 448,
        "timm_model_name": "vit_so400m_patch14_siglip_384",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 64,
        "vocab_size": 32000,
        "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 1152,
        "heads": 16,
        "layers": 27,
        "mlp_ratio": 3.7362,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-06},
        "act_kwargs": {"approximate": "tanh"},
    },
}
# SwiGLU of DINOv2: two projections of 2736 each side by side in fc1.
_SWIGLU_LARGE = {
    "patch_size": 16,
    "embed_dim": 1024,
    "depth": 24,
    "num_heads": 16,
    "init_values": 1e-5,
    "mlp_ratio": 2.671875 * 2,
    "swiglu": True,
}


def _dinobloom(letter: str, dim: int, depth: int, heads: int, **more: Any) -> Published:
    return Published(
        summary=f"ViT-{letter}/14 by DINOv2 on blood cells, 224 px, features {dim}, no text",
        kind=TIMM_VIT,
        arch={
            "patch_size": 14,
            "embed_dim": dim,
            "depth": depth,
            "num_heads": heads,
            "init_values": 1e-5,
            **more,
        },
        embed_dim=dim,
        place="https://zenodo.org/records/10908163",
        file=f"DinoBloom-{letter}.pth",
        licence="Apache-2.0",
        statistics=IMAGENET_STATISTICS,
        resize="squash",
        has_text=False,
    )


_HF = "https://huggingface.co/"
_MAHMOOD = "an account, and the authors' approval of a request by an institution's address"

PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "BiomedCLIP": Published(
            summary="ViT-B/16 and PubMedBERT on figures of PubMed, 224 px, features 512",
            kind=OPEN_CLIP,
            arch=_BIOMEDCLIP,
            embed_dim=512,
            place=_HF + "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
            file="open_clip_pytorch_model.bin",
            licence="MIT",
        ),
        "PLIP": Published(
            summary="OpenAI's ViT-B/32 tuned on pathology of Twitter, 224 px, features 512",
            kind=CLIP,
            arch={"name": "ViT-B/32"},
            embed_dim=512,
            place=_HF + "vinid/plip",
            file="pytorch_model.bin",
            licence="not stated on its page",
            quick_gelu=True,
        ),
        "QuiltNet-B/32": Published(
            summary="ViT-B/32 on histology videos (Quilt-1M), 224 px, features 512",
            kind=OPEN_CLIP,
            arch=_open_clip(32),
            embed_dim=512,
            place=_HF + "wisdomik/QuiltNet-B-32",
            file="open_clip_pytorch_model.bin",
            licence="MIT",
            sha256=("e88815d05f50493a54fc2bab7ccf",),
        ),
        "QuiltNet-B/16": Published(
            summary="ViT-B/16 on histology videos (Quilt-1M), 224 px, features 512",
            kind=OPEN_CLIP,
            arch=_open_clip(16),
            embed_dim=512,
            place=_HF + "wisdomik/QuiltNet-B-16",
            file="open_clip_pytorch_model.bin",
            licence="MIT",
            sha256=("b059d20776597f0f4ab92635b24b",),
        ),
        "PubMedCLIP": Published(
            summary="OpenAI's ViT-B/32 tuned on radiology (ROCO), 224 px, features 512",
            kind=CLIP,
            arch={"name": "ViT-B/32"},
            embed_dim=512,
            place=_HF + "flaviagiammarino/pubmed-clip-vit-base-patch32",
            file="pytorch_model.bin",
            licence="MIT",
            quick_gelu=True,
        ),
        "CONCH": Published(
            summary="ViT-B/16 of a CoCa on histology, 448 px, features 512; images only here",
            kind=CONCH_VISION,
            arch={"patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12},
            embed_dim=512,
            place=_HF + "MahmoodLab/CONCH",
            file="pytorch_model.bin",
            licence="CC-BY-NC-ND-4.0",
            gate=_MAHMOOD,
            size=448,
            has_text=False,
        ),
        "MedSigLIP": Published(
            summary="SigLIP So400M/14 on medical images, 448 px, features 1152",
            kind=OPEN_CLIP,
            arch=_MEDSIGLIP,
            embed_dim=1152,
            place=_HF + "google/medsiglip-448",
            file="model.safetensors",
            licence="Health AI Developer Foundations terms of use",
            gate="an account, and consent to its terms",
            size=448,
            statistics=HALF_STATISTICS,
            interpolation="bilinear",
            resize="squash",
        ),
        "UNI": Published(
            summary="ViT-L/16 by DINOv2 on histology, 224 px, features 1024, no text",
            kind=TIMM_VIT,
            arch={
                "patch_size": 16,
                "embed_dim": 1024,
                "depth": 24,
                "num_heads": 16,
                "init_values": 1e-5,
            },
            embed_dim=1024,
            place=_HF + "MahmoodLab/UNI",
            file="pytorch_model.bin",
            licence="CC-BY-NC-ND-4.0",
            gate=_MAHMOOD,
            statistics=IMAGENET_STATISTICS,
            interpolation="bilinear",
            has_text=False,
        ),
        "DinoBloom-S": _dinobloom("S", 384, 12, 6),
        "DinoBloom-B": _dinobloom("B", 768, 12, 12),
        "DinoBloom-L": _dinobloom("L", 1024, 24, 16),
        "DinoBloom-G": _dinobloom("G", 1536, 40, 24, mlp_ratio=2.66667 * 2, swiglu=True),
        "UniCAS": Published(
            summary="ViT-L/16 on cervical smears, 224 px at 20x, features 1024, no text",
            kind=TIMM_VIT,
            arch=_SWIGLU_LARGE,
            embed_dim=1024,
            place=_HF + "jianght/UniCAS",
            file="UniCAS.pth",
            licence="Apache-2.0",
            statistics=IMAGENET_STATISTICS,
            resize="squash",
            has_text=False,
        ),
        "CROWN": Published(
            summary="ViT-L/16 by DINOv2 on cytology, 224 px, features 1024, no text",
            kind=TIMM_VIT,
            arch=_SWIGLU_LARGE,
            embed_dim=1024,
            place=_HF + "LexieK/Crown",
            file="CROWN.pth",
            licence="Apache-2.0",
            gate="an account, and a request",
            statistics=IMAGENET_STATISTICS,
            interpolation="bilinear",
            has_text=False,
        ),
    }
)


def how_to_get(name: str) -> str:
    """Where the weights of a published backbone are, and on what terms, in half a sentence."""
    entry = PUBLISHED[name]
    gate = f"; needs {entry.gate}" if entry.gate else ""
    return f"{entry.file} of {entry.place} (licence: {entry.licence}{gate})"
