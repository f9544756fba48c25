"""A tower of which a part learns: what it saves, alone and within a larger module."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from cerviclip.vlm import apply_lora, load_backbone
from cerviclip.vlm.learned.adapted import AdaptedTower, unfreeze
from dassl.errors import UserError

BASE = "a" * 64


def lora(vit, r=2, base=BASE):
    return AdaptedTower(apply_lora(vit.visual, ("q", "v"), r=r), base)


class Larger(nn.Module):
    """Both towers beside a head, as a method that learns all of them registers them."""

    def __init__(self, vit, base=BASE, r=2):
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.towers = nn.ModuleDict(
            {
                "vision": AdaptedTower(apply_lora(vit.visual, ("q",), r=r), base),
                "text": AdaptedTower(unfreeze(vit.text, ("norm",)), base),
            }
        )


@torch.no_grad()
def scramble(model):
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.normal_()


def learned(model):
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def test_alone_it_saves_what_learns_and_loads_it(vit):
    model = lora(vit)
    scramble(model)
    twin = lora(vit)
    result = twin.load_state_dict(model.state_dict())
    assert not result.missing_keys and not result.unexpected_keys
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True)
    )
    assert {k.rsplit(".", 1)[1] for k in model.state_dict()} == {
        *("lora_A", "lora_B", "config", "base_sha256")
    }


def test_within_a_larger_module_it_is_saved_under_its_prefix_and_loaded(vit):
    model = Larger(vit)
    scramble(model)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert "head.weight" in state and "towers.vision.blocks.0.attn.q_proj.lora_A" in state
    assert "towers.text.ln_final.weight" in state
    assert sum(v.numel() for v in state.values()) < 5_000  # no frozen weight
    twin = Larger(vit)
    result = twin.load_state_dict(state)  # strict
    assert not result.missing_keys and not result.unexpected_keys
    assert learned(twin).keys() == learned(model).keys() != set()
    assert all(torch.equal(value, learned(model)[name]) for name, value in learned(twin).items())
    again = copy.deepcopy(twin)
    scramble(again)
    again.load_state_dict(state)
    assert all(torch.equal(value, learned(model)[name]) for name, value in learned(again).items())


def test_strictness_is_torchs_within_a_larger_module(vit):
    model = Larger(vit)
    state = model.state_dict()
    lacking = {k: v for k, v in state.items() if not k.endswith("0.attn.q_proj.lora_B")}
    with pytest.raises(RuntimeError, match="Missing.*towers.vision.blocks.0.attn.q_proj.lora_B"):
        model.load_state_dict(lacking)
    result = model.load_state_dict(lacking, strict=False)
    assert result.missing_keys == ["towers.vision.blocks.0.attn.q_proj.lora_B"]
    with pytest.raises(RuntimeError, match="Unexpected.*towers.text.more"):
        model.load_state_dict({**state, "towers.text.more": torch.zeros(1)})


def test_strictness_alone_is_one_line(vit):
    model = lora(vit)
    state = model.state_dict()
    name = next(k for k in state if k.endswith("lora_B"))
    before = [p.detach().clone() for p in model.parameters()]
    lacking = {k: v + 1 for k, v in state.items() if k.endswith(("lora_A", "lora_B")) and k != name}
    with pytest.raises(UserError, match=f"do not fit: 1 tensors differ .first: {name}"):
        model.load_state_dict(lacking)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert model.load_state_dict(lacking, strict=False).missing_keys == [name]
    with pytest.raises(UserError, match="do not fit"):
        model.load_state_dict(lora(vit, r=3).state_dict(), strict=False)


@pytest.mark.parametrize("strict", [True, False])
def test_other_base_weights_are_refused_everywhere(vit, strict):
    for make in (lora, Larger):
        state = make(vit, base="b" * 64).state_dict()
        with pytest.raises(UserError, match="bbbbbbbb.*aaaaaaaa"):
            make(vit).load_state_dict(state, strict=strict)


# -- parameters by kind ---------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["visual", "text"])
@pytest.mark.parametrize("kinds", [("bias",), ("norm",), ("bias", "norm"), ("all",)])
def test_unfrozen_parameters_learn_and_the_backbone_stays(files, kind, side, kinds):
    backbone = load_backbone("CLIP", files[kind])
    base, before = getattr(backbone, side), backbone.fingerprint()
    size = backbone.preprocess.size
    x = backbone.tokenize(["a cyst"]) if side == "text" else torch.randn(2, 3, *size)
    model = AdaptedTower(unfreeze(base, kinds), BASE)
    assert torch.equal(model.tower(x), base(x))
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model.tower(x).square().sum().backward()
    optimiser.step()
    with torch.no_grad():
        assert not torch.equal(model.eval().tower(x), base(x))
    assert backbone.fingerprint() == before
    twin = AdaptedTower(unfreeze(base, kinds), BASE)
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():  # batch norms of a ResNet included, whose statistics have moved
        assert torch.equal(twin.eval().tower(x), model.tower(x))
    buffers = {name for name, _ in model.tower.named_buffers()}
    names = set(model.state_dict()) - {"lora.base_sha256"} - buffers
    assert names == {n for n, p in model.tower.named_parameters() if p.requires_grad} != set()
    if kinds == ("bias",):
        assert all(name.endswith("bias") for name in names)
    if kinds == ("norm",):
        assert not any("attn" in name or "mlp" in name for name in names)
    if kinds == ("all",):
        assert names == {name for name, _ in base.named_parameters()}
    shared = {id(p) for n, p in model.tower.named_parameters() if n not in names}
    assert shared <= {id(p) for p in base.parameters()}


def test_over_16_bit_weights_what_learns_is_float32(files):
    backbone = load_backbone("CLIP", files["vit"], "bf16")
    tower = unfreeze(backbone.visual, ("bias",))
    assert {p.dtype for p in tower.parameters() if p.requires_grad} == {torch.float32}
    tower(torch.randn(2, 3, 32, 32)).sum().backward()
    assert torch.isfinite(tower.blocks[0].attn.q_proj.bias.grad).all()


def test_unknown_kinds_are_named(vit):
    with pytest.raises(UserError, match="'gains'.*bias, norm, projection, all"):
        unfreeze(vit.visual, ("gains",))
