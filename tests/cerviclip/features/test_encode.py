"""The padded encoder: same bits wherever and with whatever an image is encoded."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torchvision import transforms as T

from cerviclip.data.images.views import describe_transform, make_view
from cerviclip.features.encode import FrozenEncoder, to_numpy, to_tensor
from cerviclip.vlm.base import Backbone
from cerviclip.vlm.towers.openai import build_backbone
from dassl.data.transforms.transforms import Cutout
from dassl.errors import UserError
from helpers import tiny_clip_state_dict


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return build_backbone("CLIP", tiny_clip_state_dict(), source="tiny", weights_sha256="0" * 64)


@pytest.mark.parametrize("kind", ["pooled", "patches", "hidden:0", "hidden:1"])
def test_same_bits_alone_in_any_place_and_any_batch(backbone, kind):
    encoder = FrozenEncoder(backbone, kind)
    images = torch.randn(21, 3, 32, 32)
    together = encoder(images)
    alone = torch.cat([encoder(image[None]) for image in images])
    assert torch.equal(together, alone)
    order = torch.randperm(21)
    assert torch.equal(encoder(images[order]), together[order])
    assert torch.equal(encoder(torch.cat([images * 100, images]))[21:], together)


def test_kinds_agree_with_the_backbone(backbone):
    images = torch.randn(3, 3, 32, 32)
    pooled, patches = backbone.encode_tokens(images)
    tokens = FrozenEncoder(backbone, "patches")(images)
    close = {"rtol": 2e-3, "atol": 2e-3}  # float16
    torch.testing.assert_close(tokens[:, 0].float(), pooled, **close)
    torch.testing.assert_close(tokens[:, 1:].float(), patches, **close)
    hidden = FrozenEncoder(backbone, "hidden:1")(images).float()
    torch.testing.assert_close(backbone.visual.finish(hidden, 1), pooled, rtol=1e-2, atol=1e-2)


def test_autocast_around_it_changes_nothing(backbone):
    encoder = FrozenEncoder(backbone)
    images = torch.randn(2, 3, 32, 32)
    plain = encoder(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder(images), plain)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounding_is_the_stores_and_survives_it(backbone, dtype):
    rows = FrozenEncoder(backbone, dtype=dtype)(torch.randn(2, 3, 32, 32))
    assert rows.dtype == getattr(torch, dtype)
    assert torch.equal(to_tensor(to_numpy(rows)), rows)


def test_values_outside_the_format_are_refused():
    with pytest.raises(UserError, match="CERVICLIP_STORE_DTYPE=bfloat16"):
        to_numpy(torch.tensor([1e6]).half())


def test_unknown_kinds_and_formats(backbone):
    with pytest.raises(UserError, match="has 2 blocks, block 3"):
        FrozenEncoder(backbone, "hidden:3")
    with pytest.raises(ValueError, match="unknown kind"):
        FrozenEncoder(backbone, "logits")
    with pytest.raises(UserError, match="float8"):
        FrozenEncoder(backbone, dtype="float8")


def test_transform_text_has_every_parameter_and_no_address():
    def text(*steps) -> str:
        return describe_transform(T.Compose(list(steps)))

    assert text(T.Resize(32)) != text(T.Resize(33))
    assert text(Cutout(1, 8)) == text(Cutout(1, 8)) != text(Cutout(1, 9))
    assert "0x" not in text(Cutout(), T.Lambda(lambda x: x), T.RandomApply([T.GaussianBlur(3)]))
    blur = T.GaussianBlur(3)
    assert text(T.RandomApply([blur], p=0.1)) != text(T.RandomApply([blur], p=0.2))


def test_views_depend_on_image_view_and_transform_only():
    image = Image.effect_noise((40, 40), 50).convert("RGB")
    crop = T.Compose([T.RandomResizedCrop(16), T.ToTensor()])
    text = describe_transform(crop)
    first = make_view(image, crop, text, "ab" * 32, 0)
    torch.rand(5)
    assert torch.equal(make_view(image, crop, text, "ab" * 32, 0), first)
    assert not torch.equal(make_view(image, crop, text, "ab" * 32, 1), first)
    assert not torch.equal(make_view(image, crop, text, "cd" * 32, 0), first)
    before = torch.get_rng_state()
    make_view(image, crop, text, "ab" * 32, 0)
    assert torch.equal(torch.get_rng_state(), before)
