from __future__ import annotations

import copy
import io

import loralib
import pytest
import torch

from cerviclip.vlm import (
    apply_lora,
    load_backbone,
    load_lora_state_dict,
    lora_parameters,
    lora_state_dict,
)
from cerviclip.vlm.learned.lora import (
    CheapDropout,
    LoRALinear,
    lora_layers,
    saved_config,
)
from dassl.errors import UserError

ALL = ("q", "k", "v", "o", "mlp")


def inputs(backbone, side):
    if side == "text":
        return backbone.tokenize(["a cyst", "icicle-like streaks"])
    return torch.randn(2, 3, *backbone.preprocess.size)


def tower_of(backbone, side):
    return backbone.text if side == "text" else backbone.visual


def randomise(tower, std=0.3):
    with torch.no_grad():
        for parameter in lora_parameters(tower):
            parameter.normal_(std=std)


@pytest.fixture(params=["vision", "text"])
def side(request):
    return request.param


@pytest.mark.parametrize("train", [True, False])
def test_b_zero_equals_the_base_to_the_bit(backbone, kind, side, train):
    base = tower_of(backbone, side)
    targets = ALL[:4] if (kind, side) == ("resnet", "vision") else ALL
    tower = apply_lora(base, targets, r=4, alpha=8).train(train)
    x = inputs(backbone, side)
    assert torch.equal(tower(x), base(x))
    with torch.no_grad():
        assert torch.equal(tower(x), base(x))


@torch.no_grad()
def test_merged_equals_unmerged(backbone, kind, side):
    targets = ALL[:4] if (kind, side) == ("resnet", "vision") else ALL
    tower = apply_lora(tower_of(backbone, side), targets, r=3, alpha=2)
    randomise(tower)
    x = inputs(backbone, side)
    unmerged = tower.train()(x)
    merged = tower.eval()(x)
    assert (unmerged - tower_of(backbone, side)(x)).abs().max() > 1e-3  # the adapters do something
    assert (merged - unmerged).abs().max() <= 1e-5 * max(1, float(unmerged.abs().max()))


@torch.no_grad()
def test_merging_is_undone_for_training_and_made_anew_after_a_change(vit):
    tower = apply_lora(vit.visual, ALL, r=2)
    x = inputs(vit, "vision")
    randomise(tower)
    first = tower.eval()(x)
    randomise(tower)  # still in evaluation mode: a stale merged weight would go unnoticed
    second = tower(x)
    assert (first - second).abs().max() > 1e-3
    assert torch.allclose(tower.train()(x), second, atol=1e-4)
    assert all(layer._merged is None for _, layer in lora_layers(tower))


def test_the_shared_backbone_is_bit_identical_after_training(files):
    backbone = load_backbone("CLIP", files["resnet"])
    before, modes = backbone.fingerprint(), [m.training for m in backbone.modules()]
    for side in ("vision", "text"):
        tower = apply_lora(tower_of(backbone, side), ALL[:4], r=2, dropout=0.1).train()
        optimiser = torch.optim.SGD(lora_parameters(tower), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            tower(inputs(backbone, side)).square().mean().backward()
            optimiser.step()
        with torch.no_grad():
            tower.eval()(inputs(backbone, side))
        tower.train()
    assert backbone.fingerprint() == before
    assert [m.training for m in backbone.modules()] == modes
    assert not any(p.requires_grad or p.grad is not None for p in backbone.parameters())


def test_frozen_tensors_are_shared_and_only_adapters_learn(vit):
    tower = apply_lora(vit.visual, ("q", "v"), r=2)
    own = {id(p) for p in tower.parameters()}
    assert {id(p) for p in vit.visual.parameters()} <= own
    learning = [p for p in tower.parameters() if p.requires_grad]
    assert {id(p) for p in learning} == {id(p) for p in lora_parameters(tower)}
    assert len(learning) == 2 * 2 * vit.visual.num_blocks
    assert not any(isinstance(m, LoRALinear) for m in vit.visual.modules())
    assert all(isinstance(layer, loralib.Linear) for _, layer in lora_layers(tower))


def test_last_blocks_only_and_nothing_recorded_below_them(vit):
    tower = apply_lora(vit.visual, ("q",), blocks=1, r=2).train()
    x = inputs(vit, "vision")
    h = tower.run_blocks(tower.stem(x), 0, 2)
    assert h.grad_fn is None and not h.requires_grad  # so no activation below is kept
    assert tower.finish(h, 2).requires_grad
    assert torch.equal(tower.finish(h, 2), tower(x))


def test_every_parameter_gets_a_gradient(backbone, kind, side):
    targets = ALL[:4] if (kind, side) == ("resnet", "vision") else ALL
    tower = apply_lora(tower_of(backbone, side), targets, r=2).train()
    randomise(tower)
    tower(inputs(backbone, side)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in lora_parameters(tower))


def test_gradients_wanted_in_evaluation_mode_reach_the_adapters(vit):
    tower = apply_lora(vit.visual, ("v",), r=2).eval()
    randomise(tower)
    x = inputs(vit, "vision")
    open_path = tower(x)
    open_path.sum().backward()
    assert lora_parameters(tower)[0].grad.abs().sum() > 0
    with torch.no_grad():
        assert torch.allclose(tower(x), open_path, atol=1e-4)


def test_dropout_acts_on_the_adapters_in_training_only(vit):
    tower = apply_lora(vit.visual, ("q", "v"), r=2, dropout=0.5)
    randomise(tower)
    x = inputs(vit, "vision")
    assert not torch.equal(tower.train()(x), tower(x))
    assert torch.equal(tower.eval()(x), tower(x))
    with torch.no_grad():  # with B = 0 whatever is dropped adds nothing
        for layer in lora_layers(tower):
            layer[1].lora_B.zero_()
    assert torch.equal(tower.train()(x), vit.visual(x))


def test_equals_loralibs_own_layer():
    base = torch.nn.Linear(6, 5)
    theirs = loralib.Linear(6, 5, r=2, lora_alpha=3)
    ours = LoRALinear(base, r=2, alpha=3, dropout=0.0)
    with torch.no_grad():
        theirs.weight.copy_(base.weight)
        theirs.bias.copy_(base.bias)
        ours.lora_A.copy_(theirs.lora_A)
        theirs.lora_B.normal_()
        ours.lora_B.copy_(theirs.lora_B)
    x = torch.randn(4, 6)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    theirs.eval()
    with torch.no_grad():
        assert torch.allclose(ours.eval()(x), theirs(x), atol=1e-6)


@torch.no_grad()
def test_saved_adapters_rebuild_the_tower(vit):
    tower = apply_lora(vit.visual, ("q", "o"), blocks=2, r=3, alpha=5, dropout=0.25)
    randomise(tower)
    buffer = io.BytesIO()
    torch.save(lora_state_dict(tower, vit.weights_sha256), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    config = saved_config(state)
    again = apply_lora(
        vit.visual, config.targets, config.blocks, config.r, config.alpha, config.dropout
    )
    load_lora_state_dict(again, state, vit.weights_sha256)
    x = inputs(vit, "vision")
    assert torch.equal(again.eval()(x), tower.eval()(x))
    learned = sum(v.numel() for k, v in state.items() if "lora_A" in k or "lora_B" in k)
    assert learned == 2 * 2 * (2 * 3 * 64)  # blocks x layers x (A and B): no frozen weight


def test_adapters_of_other_weights_or_another_shape_are_refused(vit):
    tower = apply_lora(vit.visual, ("q",), r=2)
    state = lora_state_dict(tower, "a" * 64)
    with pytest.raises(UserError, match="aaaaaaaa"):
        load_lora_state_dict(tower, state, vit.weights_sha256)
    for other in (apply_lora(vit.visual, ("k",), r=2), apply_lora(vit.visual, ("q",), r=3)):
        with pytest.raises(UserError, match="do not fit"):
            load_lora_state_dict(other, state, "a" * 64)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"blocks": 4}, "last 4 blocks.*has 3"),
        ({"blocks": 0}, "last 0 blocks"),
        ({"targets": ("q", "w")}, "q, k, v, o, mlp"),
        ({"targets": ()}, "targets"),
        ({"r": 0}, "rank 0"),
        ({"dropout": 1.0}, "dropout 1.0"),
    ],
)
def test_impossible_settings_are_named(vit, settings, words):
    with pytest.raises(UserError, match=words):
        apply_lora(vit.visual, **settings)


def test_a_resnet_has_one_block_without_an_mlp(resnet):
    with pytest.raises(UserError, match="q, k, v, o$"):
        apply_lora(resnet.visual, ("mlp",))
    with pytest.raises(UserError, match="has 1"):
        apply_lora(resnet.visual, blocks=2)


@torch.no_grad()
def test_copies_of_an_adapted_tower_are_independent(vit):
    tower = apply_lora(vit.visual, ("q",), r=2)
    randomise(tower)
    x = inputs(vit, "vision")
    before = tower.eval()(x)
    other = copy.deepcopy(tower)
    randomise(other)
    assert not torch.equal(other(x), before)
    assert torch.equal(tower(x), before)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_adapters_over_16_bit_weights_learn_in_float32(files, precision):
    backbone = load_backbone("CLIP", files["vit"], precision)
    tower = apply_lora(backbone.visual, ALL, r=2).train()
    assert {p.dtype for p in lora_parameters(tower)} == {torch.float32}
    x = inputs(backbone, "vision")
    with torch.no_grad():
        assert torch.equal(tower(x), backbone.visual(x))
    tower(x).float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in lora_parameters(tower))


@pytest.mark.parametrize("p", [0.1, 0.25])
@pytest.mark.parametrize("shape", [(400, 1001), (7, 3, 5000)])
def test_cheap_dropout_drops_and_scales_as_torchs_does(p, shape):
    torch.manual_seed(0)
    x = torch.rand(shape) + 1
    out = CheapDropout(p)(x)
    kept = out != 0
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=0.005)
    # No pattern along the last axis: each of the four draws in a random number is fair.
    lanes = [kept.flatten()[lane::4].float().mean().item() for lane in range(4)]
    assert max(lanes) - min(lanes) < 0.01
    torch.testing.assert_close(out[kept], x[kept] / (1 - p))


def test_cheap_dropout_rests_in_evaluation_and_passes_the_gradient():
    layer, x = CheapDropout(0.25), torch.ones(64, 8, requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())
    assert layer.eval()(x) is x
    torch.manual_seed(3)
    first = layer.train()(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
