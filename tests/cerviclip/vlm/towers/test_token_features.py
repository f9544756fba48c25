"""Transformers as image features: what their own classifiers see, and their tokens."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.vision_transformer import VisionTransformer

from cerviclip.vlm import apply_lora, load_backbone
from cerviclip.vlm.towers.token_features import _grid, token_tower
from dassl.errors import UserError


@torch.no_grad()
def test_torchvisions_features_are_what_its_classifier_sees():
    torch.manual_seed(0)
    model = VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32,
        num_classes=5,
    ).eval()  # fmt: skip
    tower = token_tower(model, (32, 32))
    assert tower is not None
    x = torch.randn(3, 3, 32, 32)
    pooled, patches = tower.head(tower.run_blocks(tower.stem(x)))
    assert torch.allclose(model.heads(pooled), model(x), atol=1e-5)
    assert patches.shape == (3, 16, 16) and tower.grid == (4, 4) and tower.width == 16
    assert torch.equal(tower(x), pooled)


@torch.no_grad()
@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("vit_tiny_patch16_224", {}),  # class token
        ("vit_tiny_patch16_224", {"global_pool": "avg", "class_token": False}),
        ("mixer_s32_224", {}),
    ],
)
def test_timms_features_are_what_its_classifier_sees(arch, options):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(arch, num_classes=5, **options).eval()
    tower = token_tower(model, (224, 224))
    assert tower is not None
    x = torch.randn(2, 3, 224, 224)
    pooled, patches = tower.head(tower.stem(x))
    assert torch.allclose(model.head(pooled), model(x), atol=1e-4)
    assert patches.shape[1] == tower.grid[0] * tower.grid[1] and pooled.shape[1] == tower.width


def test_a_cnn_has_no_tokens_and_a_transformer_no_blocks_to_enter():
    timm = pytest.importorskip("timm")
    assert token_tower(timm.create_model("test_resnet"), (64, 64)) is None
    backbone = load_backbone("timm:test_vit", "random")
    assert backbone.embed_dim == backbone.visual.width and not backbone.has_text
    with pytest.raises(UserError, match="TokenTower has none"):
        apply_lora(backbone.visual)


def test_patches_stand_in_the_proportion_of_the_input():
    assert _grid(196, (224, 224)) == (14, 14)
    assert _grid(32, (64, 128)) == (4, 8)
    assert _grid(7, (224, 224)) == (1, 7)


@pytest.mark.slow
@torch.no_grad()
def test_vit_b_32_from_a_file_of_its_own(tmp_path):
    from torchvision import models

    model = models.vit_b_32(weights=None).eval()
    torch.save(model.state_dict(), tmp_path / "vit.pt")
    backbone = load_backbone("torchvision:vit_b_32", tmp_path / "vit.pt")
    x = torch.randn(1, 3, 224, 224)
    assert torch.allclose(model.heads(backbone.encode_image(x)), model(x), atol=1e-4)
    assert backbone.embed_dim == 768 and backbone.visual.grid == (7, 7)
