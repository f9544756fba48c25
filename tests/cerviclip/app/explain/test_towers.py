"""Maps of real trainers: through frozen encoders, adapted towers, and attention itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from explain_fixtures import predictor_of
from PIL import Image

from cerviclip import Predictor
from cerviclip.app import explain_command
from cerviclip.app.explain import explain, methods_of
from cerviclip.app.explain.attention import attribution, rollout
from cerviclip.app.explain.cams import cam
from cerviclip.app.explain.scorer import Scorer, log_odds
from cerviclip.app.explain.sites import find_site

CAMS = ["gradcam", "hirescam", "scorecam", "eigencam"]
VIT = ["occlusion", "attribution", "rollout", *CAMS]


@pytest.fixture(scope="module")
def image(cells):
    return sorted((cells / "green").iterdir())[0]


@pytest.fixture
def scorer(predictor, image):
    return Scorer(predictor.members[0].trainer, Image.open(image).convert("RGB"), str(image))


def test_a_vit_has_rollout_too(predictor):
    assert methods_of(predictor) == VIT


def test_the_gradient_passes_the_frozen_encoder(scorer):
    """HiResCAM is gradient times activation at the last block's first norm; here by hand."""
    trainer, label = scorer.trainer, 1
    tower = trainer.backbone.visual
    with torch.no_grad():
        tokens = tower.run_blocks(tower.stem(scorer.pixels), 0, tower.num_blocks - 1)
    block = tower.blocks[-1]
    normed = block.ln_1(tokens).detach().requires_grad_()
    row = block.feed(tokens[:, 0] + block.attn(normed[:, :1], normed).squeeze(1))
    features = F.normalize((tower.ln_post(row) @ tower.proj).float(), dim=-1)
    log_odds(label)(trainer.head(features)[0]).backward()
    product = (normed.grad * normed)[0, 1:].sum(-1).relu().reshape(tower.grid)
    wanted = F.interpolate(product[None, None].detach(), size=(32, 32), mode="bilinear")[0, 0]
    wanted = (wanted - wanted.min()) / (wanted.max() - wanted.min())
    found = cam("hirescam", scorer, find_site(scorer), label)
    np.testing.assert_allclose(found, wanted.numpy(), atol=0.02)  # features are rounded to 16 bit
    assert found.max() > 0.9


def test_rollout_is_the_product_of_the_blocks(scorer):
    tower = scorer.trainer.backbone.visual
    share, h = torch.eye(17, dtype=torch.float64), None
    with torch.no_grad():
        h = tower.stem(scorer.pixels)
        for block in tower.blocks:
            x = block.ln_1(h)
            q, k = block.attn.split(block.attn.q_proj(x)), block.attn.split(block.attn.k_proj(x))
            weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1).mean(1)[0]
            share = (weights.double() + torch.eye(17)) / 2 @ share
            h = block(h)
    np.testing.assert_allclose(rollout(scorer), share[0, 1:].reshape(4, 4).numpy(), atol=1e-6)


def test_attribution_is_attention_times_its_gradient(scorer):
    """Chefer et al., eq. 5 and 6, by hand on the tower's own weights."""
    trainer, label = scorer.trainer, 1
    tower, seen = trainer.backbone.visual, []

    def attend(block, query, x):
        q, k, v = (block.attn.split(p(y)) for p, y in zip(
            (block.attn.q_proj, block.attn.k_proj, block.attn.v_proj), (query, x, x), strict=True
        ))  # fmt: skip
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        seen.append(weights if weights.requires_grad else weights.requires_grad_())
        return block.attn.out_proj(block.attn.merge(seen[-1] @ v))

    h = tower.stem(scorer.pixels).detach()
    for block in tower.blocks[:-1]:
        x = block.ln_1(h)
        h = block.feed(h + attend(block, x, x))
    last = tower.blocks[-1]
    x = last.ln_1(h)
    row = last.feed(h[:, 0] + attend(last, x[:, :1], x).squeeze(1))
    features = F.normalize((tower.ln_post(row) @ tower.proj).float(), dim=-1)
    gradients = torch.autograd.grad(log_odds(label)(trainer.head(features)[0]), seen)
    share = torch.eye(17)
    for weights, gradient in zip(seen, gradients, strict=True):
        step = (weights * gradient)[0].clamp(min=0).mean(0)
        whole = torch.zeros(17, 17)
        whole[: len(step)] = step
        share = share + whole @ share
    wanted = share[0, 1:].reshape(4, 4).detach().numpy()
    found = attribution(scorer, label)
    np.testing.assert_allclose(found, wanted, atol=0.02 * wanted.max())  # features: 16 bit
    assert wanted.max() > 0
    assert np.abs(found - attribution(scorer, 0)).max() > 1e-3 * wanted.max()


@pytest.fixture(scope="module")
def savlt(make_run, cells, tmp_path_factory):
    return make_run("SAVLT", cells, tmp_path_factory.mktemp("savlt") / "run")


def test_savlts_attention_is_that_of_its_tool(savlt, image):
    from cerviclip.tools.attention import look_at

    run = Predictor.from_run(savlt, device="cpu")
    assert methods_of(run) == ["occlusion", "attention", "rollout", *CAMS]
    wanted = look_at(run.members[0].trainer, image).attention.mean(0)
    heat = explain(run, image, method="attention")
    centers = heat[4::8, 4::8]  # of the patches of 8 px; enlarging blurs them
    assert np.corrcoef(centers.ravel(), wanted.ravel())[0, 1] > 0.9
    assert heat.min() == 0 and heat.max() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, opts",
    [
        ("CoOp", ()),
        ("CLIPLoRA", ()),
        ("CLIPLoRA", ("INPUT.FEATURE_VIEWS", "0")),
        ("ProLIP", ()),
        ("MaPLe", ("TRAINER.MAPLE.PROMPT_DEPTH", "2")),
        ("VPT", ("TRAINER.VPT.PROMPT_DEPTH_VISION", "2")),
        ("BitFit", ()),
        ("CoCoOp", ()),
    ],
)
def test_trainers_with_and_without_stored_features(make_run, cells, image, tmp_path, name, opts):
    run = Predictor.from_run(make_run(name, cells, tmp_path / "run", *opts), device="cpu")
    assert methods_of(run) == VIT
    before = run.predict(image).probabilities
    for label in run.classnames:
        heat = [explain(run, image, label, method) for method in VIT]
        assert all(np.isfinite(one).all() and one.shape == (32, 32) for one in heat)
        empty = dict(zip(VIT, [not one.any() for one in heat], strict=True))
        assert not empty["eigencam"] and not empty["rollout"]  # maps for a class may be empty
    assert run.predict(image).probabilities == before


@pytest.mark.slow
def test_a_resnet_tower(make_run, cells, image, tmp_path):
    from safetensors.torch import save_file

    from cerviclip.vlm.towers.clip_package import import_clip

    torch.manual_seed(1)
    model = import_clip().model.CLIP(32, 64, (1, 2, 1, 1), 8, None, 77, 49408, 64, 1, 2)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, tmp_path / "rn.safetensors")
    opts = ("MODEL.INIT_WEIGHTS", tmp_path / "rn.safetensors")
    run = Predictor.from_run(make_run("ZeroShotCLIP", cells, tmp_path / "run", *opts, shots="0"))
    assert methods_of(run) == [*CAMS, "occlusion"]
    for method in methods_of(run):
        heat = explain(run, image, method=method)
        assert heat.shape == (32, 32) and np.isfinite(heat).all()
    site = find_site(Scorer(run.members[0].trainer, Image.open(image).convert("RGB")))
    assert site.grid == (2, 2) and site.layout == "map"


NETWORKS = {
    "squeezenet1_0": ("map", (3, 3)),
    "resnet18": ("map", (2, 2)),
    "densenet121": ("map", (2, 2)),
    "swin_t": ("map", (2, 2)),
    "timm:vit_tiny_patch16_224": ("tokens", (14, 14)),
    "timm:convnext_atto": ("map", (2, 2)),
    "timm:swin_tiny_patch4_window7_224": ("map_last", (7, 7)),
    "vit_b_16": ("tokens", (14, 14)),
}


@pytest.mark.parametrize(
    "name",
    [n if n == "squeezenet1_0" else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS],
)
def test_the_last_layer_with_places(name):
    from cerviclip.trainers.cnn_baseline import build_classifier

    layout, grid = NETWORKS[name]
    torch.manual_seed(0)
    size = 224 if grid[0] > 3 else 64
    network = build_classifier(name, 2, "", pretrained=False)
    run = predictor_of(network, size)
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 70, 3), np.uint8))
    site = find_site(Scorer(run.members[0].trainer, picture))
    assert (site.layout, site.grid) == (layout, grid)
    for method in ("gradcam", "hirescam", "eigencam"):
        heat = explain(run, picture, "bright", method)
        assert heat.shape == (90, 70) and np.isfinite(heat).all()


def test_the_command_writes_picture_and_scores(probe, image, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(image.read_bytes()[:100])
    words = [str(probe), str(image), str(broken), "--out", str(tmp_path / "out")]
    assert explain_command.main([*words, "--class", "red", "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert "could not be read" in said and "broken.png" in said and "Research use only" in said
    (picture,) = (tmp_path / "out").glob("*.png")
    assert picture.stem == f"{image.stem}_red_occlusion"
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 700
    written = json.loads(picture.with_suffix(".json").read_text())
    assert written["class"] == "red" and written["use"] == "research only"
    assert written["seen"] == {"top": 0, "left": 0, "bottom": 32, "right": 32}
    assert 0 < written["faithfulness"]["deletion"] < 1
    assert written["faithfulness"]["random_maps"] == 5
