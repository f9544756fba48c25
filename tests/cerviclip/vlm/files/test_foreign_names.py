"""Names of transformers and DINOv2: the libraries' own models, at true size without memory."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from cerviclip.backbones.names import OPENAI_GEOMETRY
from cerviclip.backbones.published import PUBLISHED
from cerviclip.vlm.files.foreign_names import openai_names, siglip_names, timm_names
from cerviclip.vlm.towers.clip_package import import_clip
from cerviclip.vlm.towers.open_clip import fit_input
from cerviclip.vlm.towers.published import _trunk

transformers = pytest.importorskip("transformers")


def shapes(state) -> dict[str, tuple[int, ...]]:
    return {
        key: tuple(value.shape) for key, value in state.items() if not key.endswith("position_ids")
    }


@torch.no_grad()
def test_transformers_clip_at_the_size_of_plip_and_pubmedclip():
    """CLIPConfig's defaults are those of ViT-B/32."""
    with torch.device("meta"):
        theirs = transformers.CLIPModel(transformers.CLIPConfig()).state_dict()
        ours = import_clip().model.CLIP(*OPENAI_GEOMETRY["ViT-B/32"]).state_dict()
    assert all(PUBLISHED[name].arch["name"] == "ViT-B/32" for name in ("PLIP", "PubMedCLIP"))
    assert shapes(openai_names(theirs)) == shapes(ours)
    plain = dict(ours)
    assert openai_names(plain) == plain  # OpenAI's own file is left as it is


@torch.no_grad()
def test_transformers_siglip_at_the_size_of_medsiglip():
    open_clip = pytest.importorskip("open_clip")
    sizes = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27}
    config = transformers.SiglipConfig(
        text_config={**sizes, "num_attention_heads": 16, "projection_size": 1152},
        vision_config={**sizes, "num_attention_heads": 16, "image_size": 448, "patch_size": 14},
    )
    cfg = dict(PUBLISHED["MedSigLIP"].arch)
    cfg.pop("custom_text")
    with torch.device("meta"):
        theirs = transformers.SiglipModel(config).state_dict()
        model = open_clip.model.CustomTextCLIP(**cfg)
        fit_input(model.visual, 448)
        ours = model.state_dict()
    assert shapes(siglip_names(theirs)) == {
        key: shape or (1,) for key, shape in shapes(ours).items()
    }


def as_dinov2(state, chunks: int, swiglu: bool) -> dict:
    """timm's tensors as the code of DINOv2 saves them: chunks of blocks, w12 and w3."""
    depth = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    out = {"mask_token": torch.zeros(1, 1)}
    for key, value in state.items():
        if key.startswith("blocks."):
            number = int(key.split(".")[1])
            chunk = f"{number // (depth // chunks)}." if chunks else ""
            key = key.replace("blocks.", f"blocks.{chunk}", 1)
        if swiglu:
            key = key.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3.")
        out[key] = value
    return out


@pytest.mark.parametrize("name", [n for n, e in PUBLISHED.items() if e.kind == "timm_vit"])
def test_dinov2_at_true_size(name):
    entry = PUBLISHED[name]
    with torch.device("meta"):
        own = _trunk(entry).state_dict()
    swiglu = bool(entry.arch.get("swiglu"))
    chunked = as_dinov2(own, chunks=4 if name == "CROWN" else 0, swiglu=swiglu)
    assert shapes(timm_names(chunked)) == shapes(own)
    training = {f"backbone.{key}": value for key, value in chunked.items()}
    training |= {"dino_head.mlp.0.weight": torch.zeros(1), "ibot_head.mlp.0.weight": torch.zeros(1)}
    assert shapes(timm_names(training)) == shapes(own)
    assert timm_names(own).keys() == own.keys()
    assert own["norm.weight"].shape == (entry.embed_dim,)
    tokens = (entry.size // entry.arch["patch_size"]) ** 2 + 1
    assert own["pos_embed"].shape == (1, tokens, entry.embed_dim)
    if swiglu and name != "DinoBloom-G":
        # int(4096 * 2 / 3) rounded up to 8 is DINOv2's width of a SwiGLU of 4 x 1024
        assert own["blocks.0.mlp.fc2.weight"].shape == (1024, (4096 * 2 // 3 + 7) // 8 * 8)


def test_what_unicas_own_page_builds_is_what_its_name_builds():
    """The arguments that its page gives to timm's class."""
    from functools import partial

    from timm.layers.mlp import GluMlp

    with torch.device("meta"):
        theirs = VisionTransformer(
            patch_size=16, embed_dim=1024, depth=24, num_heads=16, init_values=1e-5,
            mlp_ratio=2.671875 * 2, mlp_layer=partial(GluMlp, gate_last=False),
            act_layer=torch.nn.SiLU, no_embed_class=False, img_size=224, num_classes=0,
        )  # fmt: skip
        ours = _trunk(PUBLISHED["UniCAS"])
    assert shapes(ours.state_dict()) == shapes(theirs.state_dict())
    assert str(ours) == str(theirs)
