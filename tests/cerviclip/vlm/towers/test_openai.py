from __future__ import annotations

import pytest
import torch

from cerviclip.backbones.names import OPENAI_GEOMETRY
from cerviclip.vlm import load_backbone
from cerviclip.vlm.towers.openai import build_clip, clip_tokenize, describe, geometry
from dassl.errors import UserError

TEXTS = [
    "a photo of a cat.",
    "an optical coherence tomography image of the cervix with icicle-like vertical streaks",
    "cyst",
]


def pixels(backbone, count=3):
    return torch.randn(count, 3, *backbone.preprocess.size)


@torch.no_grad()
def test_image_features_equal_the_clip_packages(backbone, kind, references):
    x = pixels(backbone)
    expected = references[kind].encode_image(x)
    assert torch.allclose(backbone.encode_image(x), expected, atol=1e-5)
    assert torch.allclose(backbone.encode_tokens(x)[0], expected, atol=1e-5)


@torch.no_grad()
def test_text_features_and_scale_equal_the_clip_packages(backbone, kind, references):
    tokens = backbone.tokenize(TEXTS)
    assert tokens.shape == (3, 77)
    expected = references[kind].encode_text(tokens)
    assert torch.allclose(backbone.encode_text(tokens), expected, atol=1e-5)
    assert torch.equal(backbone.scale, references[kind].logit_scale.exp())


@torch.no_grad()
def test_patches_are_the_tokens_of_the_grid_in_the_joint_space(backbone, kind, references):
    x = pixels(backbone)
    patches = backbone.encode_tokens(x)[1]
    rows, columns = backbone.visual.grid
    assert patches.shape == (3, rows * columns, backbone.embed_dim)
    if kind == "vit":
        visual = references[kind].visual
        taken = {}
        hook = visual.transformer.register_forward_hook(lambda m, i, out: taken.update(h=out))
        visual(x)
        hook.remove()
        expected = visual.ln_post(taken["h"].permute(1, 0, 2))[:, 1:] @ visual.proj
        assert torch.allclose(patches, expected, atol=1e-5)


@torch.no_grad()
def test_patches_stand_in_the_order_of_the_image(vit):
    """A change in one patch of the image moves that row of the stem's tokens and no other."""
    x = torch.zeros(1, 3, 32, 32)
    changed = x.clone()
    changed[:, :, 8:16, 16:24] = 1  # row 1, column 2 of a 4 x 4 grid of 8-px patches
    moved = (vit.visual.stem(x) != vit.visual.stem(changed)).any(dim=-1).squeeze(0)
    assert moved.nonzero().flatten().tolist() == [1 + 1 * 4 + 2]


@torch.no_grad()
def test_stopping_between_blocks_changes_nothing(backbone):
    tower, x = backbone.visual, pixels(backbone)
    whole = tower(x)
    for stop in range(tower.num_blocks + 1):
        h = tower.run_blocks(tower.stem(x), 0, stop)
        assert torch.allclose(tower.finish(h, stop), whole, atol=1e-6)
        assert torch.allclose(tower.head(tower.run_blocks(h, stop))[0], whole, atol=1e-5)


def test_loads_frozen_and_in_evaluation_mode(backbone):
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not any(m.training for m in backbone.modules())


def test_train_mode_leaves_a_frozen_networks_statistics_alone(files):
    backbone = load_backbone("CLIP", files["resnet"])
    before = backbone.fingerprint()
    backbone.train()
    backbone.visual(pixels(backbone))
    assert backbone.fingerprint() == before
    backbone.visual.requires_grad_(True).train()
    backbone.visual(pixels(backbone))
    assert backbone.fingerprint() != before  # a tower that learns behaves as any network


def test_fingerprint_sees_one_changed_bit(files):
    backbone = load_backbone("CLIP", files["vit"])
    before = backbone.fingerprint()
    backbone.visual.blocks[1].attn.k_proj.weight.data[3, 5] += 1e-7
    assert backbone.fingerprint() != before


def test_another_architecture_is_refused_by_name_and_numbers(files):
    with pytest.raises(UserError) as caught:
        load_backbone("ViT-B/16", files["vit"])
    words = str(caught.value)
    assert str(files["vit"]) in words and "vision_width 768 (found 64)" in words
    assert "\n" not in words


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape", "foreign"])
def test_incomplete_tensors_are_refused(states, damage):
    state = dict(states["vit"])
    key = "visual.transformer.resblocks.1.ln_2.bias"
    if damage == "missing":
        del state[key]
    elif damage == "unknown":
        state["visual.extra"] = torch.zeros(1)
    elif damage == "shape":
        state[key], key = torch.zeros(5), "(5,)"
    else:
        state, key = {"fc.weight": torch.zeros(2, 2)}, "fc.weight"
    key = "visual.extra" if damage == "unknown" else key
    with pytest.raises(UserError, match="some.pt") as caught:
        build_clip(state, "some.pt")
    assert key in str(caught.value)


def test_a_resnet_without_batch_counters_loads(states):
    state = {k: v for k, v in states["resnet"].items() if "num_batches" not in k}
    assert build_clip(state, "some.pt").visual.bn1.num_batches_tracked == 0


@pytest.mark.parametrize("name", OPENAI_GEOMETRY)
def test_geometry_of_each_openai_architecture_is_read_from_its_tensors(name):
    """The table of shapes against the clip package's own classes, without allocating them."""
    from cerviclip.vlm.towers.clip_package import import_clip

    with torch.device("meta"):
        state = import_clip().model.CLIP(*OPENAI_GEOMETRY[name]).state_dict()
    assert geometry(state, name) == OPENAI_GEOMETRY[name]
    assert describe(geometry(state, name)) == name


def test_a_prompt_that_is_too_long_is_cut_with_a_warning():
    with pytest.warns(UserWarning, match="cut to 77"):
        tokens = clip_tokenize(["layer " * 200, "cyst"])
    assert tokens.shape == (2, 77) and tokens[0, -1] == 49407
    full = "layer " * 75  # 75 words and the two ends: exactly full, nothing is lost
    assert clip_tokenize([full])[0, -1] == 49407
