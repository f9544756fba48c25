from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from yacs.config import CfgNode as CN

from cerviclip.vlm import clear_backbones, get_backbone, load_backbone
from dassl.errors import MissingFileError, UnknownNameError, UserError


def config(name="CLIP", weights="", prec="fp32"):
    return CN(
        {
            "MODEL": {"BACKBONE": {"NAME": name}, "INIT_WEIGHTS": str(weights)},
            "TRAINER": {"NAME": "CoOp", "COOP": {"PREC": prec}},
        }
    )


@pytest.fixture(autouse=True)
def _empty_pool():
    clear_backbones()
    yield
    clear_backbones()


def test_runs_share_one_backbone_and_another_file_is_another_one(files, tmp_path):
    first = get_backbone(config(weights=files["vit"]))
    assert get_backbone(config(weights=files["vit"])) is first
    assert get_backbone(config(weights=files["resnet"])) is not first
    assert get_backbone(config(weights=files["vit"], prec="bf16")) is not first
    copied = tmp_path / "copy.safetensors"
    copied.write_bytes(files["vit"].read_bytes())
    assert get_backbone(config(weights=copied)) is first  # the content counts, not the path


def test_a_changed_file_is_loaded_anew(files, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(files["vit"].read_bytes())
    first = get_backbone(config(weights=path))
    path.write_bytes(files["resnet"].read_bytes())
    assert get_backbone(config(weights=path)).arch != first.arch


@pytest.mark.parametrize("written", ["{}/a:b/x.npz", "~/a:b/x.npz"])
def test_a_changed_file_in_a_backbones_name_is_loaded_anew(tmp_path, monkeypatch, written):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "a:b" / "x.npz"
    file.parent.mkdir()
    name, dims = f"embeddings:{written.format(tmp_path)}", []
    for size in (3, 4):
        np.savez(file, paths=["a.png", "b.png"], features=np.eye(2, size))
        dims.append(get_backbone(config(name)).embed_dim)
    assert dims == [3, 4]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@torch.no_grad()
def test_16_bit_weights_give_nearly_the_same_float32_features(backbone, files, kind, precision):
    half = load_backbone("CLIP", files[kind], precision)
    x = torch.randn(2, 3, *backbone.preprocess.size)
    tokens = backbone.tokenize(["a cyst", "layers"])
    for ours, exact in (
        (half.encode_image(x), backbone.encode_image(x)),
        (half.encode_tokens(x)[1], backbone.encode_tokens(x)[1]),
        (half.encode_text(tokens), backbone.encode_text(tokens)),
    ):
        assert ours.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(ours, exact, dim=-1).min() > 0.99
    assert half.logit_scale.dtype == half.scale.dtype == torch.float32
    assert torch.equal(half.logit_scale, backbone.logit_scale)
    weights = next(m.weight for m in half.visual.modules() if isinstance(m, torch.nn.Linear))
    assert weights.dtype == (torch.float16 if precision == "fp16" else torch.bfloat16)


@torch.no_grad()
def test_autocast_over_float32_weights_gives_nearly_the_same_features(vit, files):
    x = torch.randn(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        cast = vit.encode_image(x)
    assert cast.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(cast, vit.encode_image(x)).min() > 0.99
    # 16-bit storage is autocast without its cast at each step, and no more than that
    stored = load_backbone("CLIP", files["vit"], "bf16").encode_image(x)
    assert torch.allclose(stored, cast, atol=2e-2 * float(cast.abs().max()))


def test_unknown_names_and_precisions_are_named():
    with pytest.raises(UnknownNameError, match=r"ViT-B16.*did you mean 'ViT-B/16'\?") as caught:
        load_backbone("ViT-B16")
    assert "PhantomCLIP" not in str(caught.value)  # the suggestion is enough
    with pytest.raises(UserError, match="fp8"):
        load_backbone("CLIP", "x.pt", "fp8")
    with pytest.raises(UserError, match="--weights FILE"):
        load_backbone("CLIP")
    with pytest.raises(MissingFileError, match="nowhere.pt"):
        load_backbone("ViT-B/16", "nowhere.pt")


def test_a_backbone_without_text_says_so(shared_dir):
    file = shared_dir / "weights" / "squeezenet1_0_imagenet_fp16.safetensors"
    backbone = load_backbone("torchvision:squeezenet1_0", file)
    for call in (lambda: backbone.tokenize(["a"]), lambda: backbone.encode_text(torch.ones(1, 2))):
        with pytest.raises(UserError, match="no text encoder"):
            call()


def test_the_list_of_names_needs_no_torch():
    code = (
        "import sys; from cerviclip.backbones import names;"
        "assert len(names.BACKBONES) >= 20 and all(names.BACKBONES.values());"
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
