"""Weights files of open_clip's architectures: recognised, or refused until the user says."""

from __future__ import annotations

import hashlib

import pytest
import torch

from cerviclip.vlm.towers import open_clip_file
from cerviclip.vlm.towers.open_clip_file import OF_OPENAI, Source, follow_file, without_gelu
from dassl.errors import UserError

open_clip = pytest.importorskip("open_clip")

NAMES = [
    "visual.transformer.resblocks.0.attn.in_proj_weight",
    "transformer.resblocks.0.mlp.c_fc.weight",
    "text_projection",
]
NORMS = ["visual.ln_pre.weight", "transformer.resblocks.0.ln_1.weight"]


def state(matrices=torch.float32, norms=torch.float32, back=torch.float32):
    """Random tensors that went through those types."""
    generator = torch.Generator().manual_seed(0)

    def made(dtype):
        return torch.randn(4, 4, generator=generator).to(dtype).to(back or dtype)

    return {name: made(matrices) for name in NAMES} | {name: made(norms) for name in NORMS}


def followed(arch="ViT-B-32", tensors=None, **options):
    source = Source(arch, {}, **options)
    follow_file(source, state() if tensors is None else tensors)
    return source


def test_a_file_is_taken_as_all_tags_of_its_architecture_are():
    mobile = followed("MobileCLIP-S1", {})
    assert mobile.preprocess["mean"] == (0, 0, 0) and mobile.preprocess["std"] == (1, 1, 1)


@pytest.mark.parametrize(
    "tensors",
    [
        dict.fromkeys(OF_OPENAI, torch.tensor(1)),
        state(torch.float16, torch.float32),  # of clip.load on a CPU
        state(torch.float16, torch.float32, back=None),  # the same on a GPU
    ],
)
def test_openais_weights_are_known_by_their_numbers_and_by_their_bits(tensors):
    assert followed(tensors=tensors).quick_gelu


@pytest.mark.parametrize("tensors", [state(), state(torch.float16, torch.float16)])
def test_weights_that_may_have_either_activation_are_refused_until_the_name_says_it(tensors):
    with pytest.raises(UserError, match="openai.*ViT-B-32-quickgelu or open_clip:ViT-B-32-gelu"):
        followed(tensors=tensors)
    assert not followed(tensors=tensors, says_gelu=True).quick_gelu
    assert followed("ViT-B-32-quickgelu", tensors).quick_gelu


def test_other_means_of_some_tags_are_warned_of():
    with pytest.warns(UserWarning, match="ViT-L-14 is taken with mean 0.481.*laion2b_s32b_b82k"):
        assert not followed("ViT-L-14", says_gelu=True).quick_gelu


def test_a_file_that_contradicts_its_name_is_refused():
    with pytest.raises(UserError, match="holds weights with QuickGELU; name them open_clip:ViT-B"):
        followed(tensors=state(torch.float16, torch.float32), says_gelu=True)


def test_a_tags_file_is_known_by_its_repository_and_by_its_name_and_hash(tmp_path, monkeypatch):
    for folder in (
        "CLIP-ViT-B-32-laion2B-s34B-b79K",
        "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K",
    ):
        place = tmp_path / folder / "snapshots" / "open_clip_model.safetensors"
        assert not followed(file=place).quick_gelu
    url = "https://somewhere/vit_b_32-quick-{}.pt"
    file = tmp_path / "weights"
    file.write_bytes(b"weights")
    start = hashlib.sha256(b"weights").hexdigest()[:8]
    named = file.rename(tmp_path / f"vit_b_32-quick-{start}.pt")
    tagged = {"url": url.format(start), "quick_gelu": True, "mean": (0.5, 0.5, 0.5)}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: tagged)
    found = followed(file=named)
    assert found.quick_gelu and found.preprocess == {"mean": (0.5, 0.5, 0.5)}
    other = tmp_path / "other" / named.name
    other.parent.mkdir()
    other.write_bytes(b"other weights under that name")
    assert open_clip_file._tag_by_place(open_clip, Source("ViT-B-32", {}, file=other)) == {}


def test_the_end_of_a_name_says_gelu_unless_an_architecture_is_called_so():
    assert without_gelu(open_clip, "ViT-B-32-gelu") == ("ViT-B-32", True)
    for arch in ("ViT-B-32", "ViT-B-32-quickgelu"):
        assert without_gelu(open_clip, arch) == (arch, False)
