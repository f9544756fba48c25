"""Where the fused kernels are taken, that they change no number, and continuing across devices.

torch has the same kernels for a CPU: most tests let ``build_optimizer`` take those.
"""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from dassl.config import get_cfg_default
from dassl.optim import build_optimizer, fused

FUSED = ["sgd", "adam", "amsgrad", "adamw"]


def make_cfg(name, **keys):
    cfg = get_cfg_default().OPTIM
    cfg.NAME, cfg.LR, cfg.WEIGHT_DECAY = name, 0.01, 0.1
    for key, value in keys.items():
        setattr(cfg, key, value)
    return cfg


def is_fused(optimizer):
    chosen = {bool(group.get("fused")) for group in optimizer.param_groups}
    assert len(chosen) == 1
    return chosen.pop()


def steps(optimizer, parameters, count, start=0):
    for step in range(start, start + count):
        for parameter in parameters:
            generator = torch.Generator().manual_seed(step)
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter)
        optimizer.step()


@pytest.fixture
def on_cpu(monkeypatch):
    monkeypatch.setattr(fused, "DEVICES", ("cpu",))


def test_a_cpu_has_torchs_plain_optimisers():
    for name in (*FUSED, "rmsprop", "radam"):
        assert not is_fused(build_optimizer(nn.Linear(2, 2), make_cfg(name)))


def test_what_the_kernels_take_is_told_from_the_parameters():
    """Tensors that pretend to be on a GPU: nothing is computed."""
    with FakeTensorMode():
        gpu = [torch.empty(2, device="cuda:0"), torch.empty(2, device="cuda:0").half()]
        other, host = torch.empty(2, device="cuda:1"), torch.empty(2)
        whole, complex_ = gpu[0].long(), gpu[0].to(torch.complex64)
    yes = {"fused": True}
    assert fused.fused_option(gpu) == yes
    assert fused.fused_option([("a", gpu[0]), ("b", gpu[1])]) == yes
    assert fused.fused_option([{"params": gpu, "lr": 1}, {"params": gpu[0]}]) == yes
    for odd in (other, host, whole, complex_, torch.empty(2, device="meta")):
        assert fused.fused_option([*gpu, odd]) == {}
        assert fused.fused_option([{"params": gpu}, {"params": [odd]}]) == {}
    assert fused.fused_option([]) == {}


@pytest.mark.parametrize("name", FUSED)
def test_fused_steps_equal_plain_ones(name, on_cpu, monkeypatch):
    one, other = nn.Linear(5, 3), nn.Linear(5, 3)
    other.load_state_dict(one.state_dict())
    quick = build_optimizer(one, make_cfg(name))
    monkeypatch.setattr(fused, "DEVICES", ())
    plain = build_optimizer(other, make_cfg(name))
    assert is_fused(quick) and not is_fused(plain)
    steps(quick, one.parameters(), 5)
    steps(plain, other.parameters(), 5)
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", FUSED)
def test_on_a_gpu_fused_steps_equal_plain_ones(name, dtype, monkeypatch):
    one, other = (nn.Linear(5, 3, device="cuda", dtype=dtype) for _ in range(2))
    other.load_state_dict(one.state_dict())
    cfg = make_cfg(name, ADAM_EPS=1e-4)
    quick = build_optimizer(one, cfg)
    monkeypatch.setattr(fused, "DEVICES", ())
    plain = build_optimizer(other, cfg)
    assert is_fused(quick) and not is_fused(plain)
    steps(quick, one.parameters(), 5)
    steps(plain, other.parameters(), 5)
    near = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 0.01, "atol": 0.01}
    torch.testing.assert_close(one.state_dict(), other.state_dict(), **near)


@pytest.mark.gpu
@pytest.mark.parametrize("name", FUSED)
def test_on_a_gpu_a_scaled_step_waits_for_nothing(name):
    layer = nn.Linear(5, 3, device="cuda")
    optimizer = build_optimizer(layer, make_cfg(name))
    scaler = torch.amp.GradScaler("cuda")

    def step():
        optimizer.zero_grad()
        scaler.scale(layer(torch.ones(2, 5, device="cuda")).sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("make", [iter, list, lambda p: [{"params": iter(p), "lr": 0.5}]])
def test_iterators_are_not_used_up(make, on_cpu):
    layer = nn.Linear(2, 2)
    optimizer = build_optimizer(make(list(layer.parameters())), make_cfg("adam"))
    assert is_fused(optimizer)
    assert optimizer.param_groups[0]["params"] == list(layer.parameters())


def test_a_group_may_hold_one_number_alone(on_cpu):
    scale = nn.Parameter(torch.tensor(1.0))
    optimizer = build_optimizer([{"params": scale}], make_cfg("adam"))
    assert is_fused(optimizer)
    assert optimizer.param_groups[0]["params"] == [scale]


def test_a_parameter_without_a_gradient_keeps_no_other_from_its_momentum(on_cpu):
    """Its place in the list says nothing of those behind it."""
    frozen, learnt = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = build_optimizer([frozen, learnt], make_cfg("sgd"))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(learnt.sum() * float("inf")).backward()
    scaler.step(optimizer)  # the scaler skips it
    assert optimizer.state[learnt]["momentum_buffer"].tolist() == [0.0, 0.0]


def test_each_group_has_a_momentum_of_its_own(on_cpu):
    """Momentum starts from zero in the groups that have one, and takes no memory in others."""
    still, moving = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    groups = [{"params": [still], "momentum": 0.0}, {"params": [moving], "momentum": 1.0}]
    optimizer = build_optimizer(groups, make_cfg("sgd"))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale((still + moving).sum() * float("inf")).backward()
    scaler.step(optimizer)  # the scaler skips it
    assert "momentum_buffer" not in optimizer.state[still]
    assert optimizer.state[moving]["momentum_buffer"].tolist() == [0.0, 0.0]


def test_staged_rates_reach_the_fused_optimiser(on_cpu):
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    cfg = make_cfg("adamw", STAGED_LR=True, BASE_LR_MULT=0.1, NEW_LAYERS=("1",))
    optimizer = build_optimizer(net, cfg)
    assert is_fused(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.001), 0.01]


def test_a_dampened_momentum_stays_plain(on_cpu):
    assert not is_fused(build_optimizer(nn.Linear(2, 2), make_cfg("sgd", SGD_DAMPNING=0.5)))
    cfg = make_cfg("sgd", SGD_DAMPNING=0.5, MOMENTUM=0.0)
    assert is_fused(build_optimizer(nn.Linear(2, 2), cfg))


@pytest.mark.parametrize("name", FUSED)
def test_a_first_step_that_the_scaler_skips_leaves_no_trace(name, on_cpu):
    """torch's fused SGD would go on from memory that nobody wrote."""
    skipped, clean = nn.Linear(5, 3), nn.Linear(5, 3)
    clean.load_state_dict(skipped.state_dict())
    optimizer = build_optimizer(skipped, make_cfg(name))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(skipped(torch.full((1, 5), float("inf"))).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    torch.testing.assert_close(skipped.state_dict(), clean.state_dict(), rtol=0, atol=0)
    if name == "sgd":
        assert all(not s["momentum_buffer"].any() for s in optimizer.state.values())
    optimizer.zero_grad()
    steps(optimizer, skipped.parameters(), 1)
    steps(build_optimizer(clean, make_cfg(name)), clean.parameters(), 1)
    torch.testing.assert_close(skipped.state_dict(), clean.state_dict(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", FUSED)
def test_a_parameter_may_get_its_first_gradient_later(name, on_cpu):
    early, late = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    third = nn.Parameter(torch.ones(2))
    optimizer = build_optimizer([third, early, late], make_cfg(name))
    steps(optimizer, [early], 1)
    steps(optimizer, [early, late], 1)
    assert not torch.equal(late, torch.ones(2))


@pytest.mark.parametrize("from_fused", [True, False])
@pytest.mark.parametrize("name", FUSED)
def test_a_run_continues_on_another_device_by_that_devices_kernels(name, from_fused, monkeypatch):
    def built(layer, fuse):
        monkeypatch.setattr(fused, "DEVICES", ("cpu",) if fuse else ())
        return build_optimizer(layer, make_cfg(name))

    layer = nn.Linear(5, 3)
    first = built(layer, from_fused)
    steps(first, layer.parameters(), 3)
    copy = deepcopy(layer)
    saved = deepcopy(first.state_dict())
    second = built(copy, not from_fused)
    second.load_state_dict(saved)
    assert is_fused(second) is not from_fused
    assert [bool(group.get("fused")) for group in saved["param_groups"]] == [from_fused]
    steps(first, layer.parameters(), 2, start=3)
    steps(second, copy.parameters(), 2, start=3)
    torch.testing.assert_close(copy.state_dict(), layer.state_dict(), rtol=1e-5, atol=1e-6)


def test_groups_that_do_not_fit_are_torchs_to_refuse():
    optimizer = build_optimizer(nn.Linear(2, 2), make_cfg("adam"))
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optimizer.load_state_dict({"state": {}, "param_groups": []})
