"""Every optimiser name: its class, its numbers, and one step worked out by hand."""

from __future__ import annotations

import math
from copy import deepcopy as copy_of

import pytest
import torch
from torch import nn

from dassl.config import get_cfg_default
from dassl.optim import build_optimizer
from dassl.optim.optimizer import AVAI_OPTIMS
from dassl.optim.radam import RAdam

LR, WD, START, GRAD = 0.1, 0.01, 2.0, 0.5


def make_cfg(name, **keys):
    cfg = get_cfg_default().OPTIM
    cfg.NAME, cfg.LR, cfg.WEIGHT_DECAY = name, LR, WD
    for key, value in keys.items():
        setattr(cfg, key, value)
    return cfg


def after_steps(optimizer, parameter, count=1):
    for _ in range(count):
        parameter.grad = torch.full_like(parameter, GRAD)
        optimizer.step()
    return parameter.item()


COUPLED = GRAD + WD * START  # weight decay added to the gradient
# name, config keys, class, value after one step from START
TABLE = [
    ("sgd", {}, torch.optim.SGD, START - LR * COUPLED),
    ("sgd", {"SGD_NESTEROV": True}, torch.optim.SGD, START - LR * COUPLED * (1 + 0.9)),
    ("sgd", {"SGD_DAMPNING": 0.3}, torch.optim.SGD, START - LR * COUPLED),
    ("adam", {}, torch.optim.Adam, START - LR),
    ("amsgrad", {}, torch.optim.Adam, START - LR),
    ("adamw", {}, torch.optim.AdamW, START * (1 - LR * WD) - LR),
    # rho_1 = 1 < 5: a plain momentum step, with decoupled decay
    ("radam", {}, RAdam, START * (1 - LR * WD) - LR * GRAD),
    # root of (1 - alpha) * g^2, times the momentum buffer's first value
    ("rmsprop", {}, torch.optim.RMSprop, START - LR / math.sqrt(1 - 0.99)),
    ("rmsprop", {"RMSPROP_ALPHA": 0.75}, torch.optim.RMSprop, START - LR / math.sqrt(0.25)),
]


def test_table_has_every_name():
    assert {row[0] for row in TABLE} == set(AVAI_OPTIMS)


@pytest.mark.parametrize(("name", "keys", "kind", "expected"), TABLE)
def test_first_step(name, keys, kind, expected):
    parameter = nn.Parameter(torch.tensor(START))
    optimizer = build_optimizer([parameter], make_cfg(name, **keys))
    assert type(optimizer) is kind
    assert after_steps(optimizer, parameter) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dampening", [0.0, 0.3])
def test_dampening_holds_from_the_second_step_on(dampening):
    parameter = nn.Parameter(torch.tensor(START))
    cfg = make_cfg("sgd", SGD_DAMPNING=dampening, WEIGHT_DECAY=0.0)
    moved = GRAD + (0.9 * GRAD + (1 - dampening) * GRAD)
    optimizer = build_optimizer([parameter], cfg)
    assert after_steps(optimizer, parameter, 2) == pytest.approx(START - LR * moved, rel=1e-6)


@pytest.mark.parametrize("name", AVAI_OPTIMS)
def test_numbers_reach_the_optimiser(name):
    cfg = make_cfg(name, MOMENTUM=0.7, ADAM_BETA1=0.8, ADAM_BETA2=0.95, ADAM_EPS=1e-4)
    group = build_optimizer(nn.Linear(2, 2), cfg).param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (LR, WD)
    if name in ("sgd", "rmsprop"):
        assert group["momentum"] == 0.7
    else:
        assert group["betas"] == (0.8, 0.95) and group["eps"] == 1e-4
    assert group.get("amsgrad", False) == (name == "amsgrad")


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.9), (0.0, 0.8)])
@pytest.mark.parametrize("decay", [0.0, WD, 1.0])
@pytest.mark.parametrize("steps", [1, 5, 6, 7, 40])
def test_radam_equals_torchs_with_decoupled_decay(decay, steps, betas):
    """Independent check: torch's RAdam is the same paper's; both leave plain steps at rho 5.
    The smaller beta2, the more each term of the rectification weighs."""
    ours, theirs = nn.Parameter(torch.tensor(START)), nn.Parameter(torch.tensor(START))
    first = RAdam([ours], lr=LR, betas=betas, weight_decay=decay)
    second = torch.optim.RAdam(
        [theirs], lr=LR, betas=betas, weight_decay=decay, decoupled_weight_decay=True
    )
    for step in range(steps):
        for parameter, optimizer in ((ours, first), (theirs, second)):
            parameter.grad = torch.tensor(GRAD + 0.1 * step)
            optimizer.step()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4)


def test_radam_can_wait_instead():
    parameter = nn.Parameter(torch.tensor(START))
    optimizer = RAdam([parameter], lr=LR, degenerated_to_sgd=False)
    assert after_steps(optimizer, parameter, 5) == START  # rho_t < 5 up to the fifth step
    assert after_steps(optimizer, parameter, 1) != START


def test_radam_resumes_and_takes_half_precision():
    parameter = nn.Parameter(torch.tensor(START))
    optimizer = RAdam([parameter], lr=LR)
    after_steps(optimizer, parameter, 8)
    copy = nn.Parameter(parameter.detach().clone())
    resumed = RAdam([copy], lr=LR)
    resumed.load_state_dict(copy_of(optimizer.state_dict()))
    assert after_steps(resumed, copy) == after_steps(optimizer, parameter)
    half = nn.Parameter(torch.tensor(START, dtype=torch.float16))
    assert math.isfinite(after_steps(RAdam([half], lr=LR), half, 10))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": -1.0}, "Invalid learning rate: -1.0"),
        ({"eps": -1.0}, "Invalid epsilon: -1.0"),
        ({"betas": (1.0, 0.9)}, "Invalid betas: .1.0, 0.9"),
        ({"betas": (0.9, -0.1)}, "Invalid betas"),
    ],
)
def test_radam_refuses_nonsense(options, said):
    with pytest.raises(ValueError, match=said):
        RAdam([nn.Parameter(torch.ones(1))], **options)


def test_radam_has_the_papers_defaults_and_may_stand_still():
    group = RAdam([nn.Parameter(torch.ones(1))]).param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (1e-3, (0.9, 0.999), 1e-8)
    assert group["weight_decay"] == 0
    parameter = nn.Parameter(torch.tensor(START))
    assert after_steps(RAdam([parameter], lr=0.0, eps=0.0), parameter, 8) == START


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(3, 2)
        self.classifier = nn.Linear(2, 4)


@pytest.mark.parametrize("wrap", [lambda net: net, nn.DataParallel])
@pytest.mark.parametrize("layers", [("classifier",), ["classifier"], "classifier"])
def test_staged_lr(wrap, layers):
    net = Net()
    cfg = make_cfg("sgd", STAGED_LR=True, BASE_LR_MULT=0.01)
    cfg.NEW_LAYERS = layers
    base, new = build_optimizer(wrap(net), cfg).param_groups
    assert base["params"] == list(net.backbone.parameters())
    assert new["params"] == list(net.classifier.parameters())
    assert (base["lr"], new["lr"]) == (pytest.approx(LR * 0.01), LR)


def test_staged_lr_needs_a_model_and_layers():
    cfg = make_cfg("sgd", STAGED_LR=True, NEW_LAYERS=("classifier",))
    with pytest.raises(TypeError, match="nn.Module"):
        build_optimizer(Net().parameters(), cfg)
    with pytest.warns(UserWarning, match="param_groups"):
        optimizer = build_optimizer(Net(), cfg, param_groups=[{"params": Net().parameters()}])
    assert len(optimizer.param_groups) == 1
    cfg.NEW_LAYERS = ()
    with pytest.warns(UserWarning, match="NEW_LAYERS is empty"):
        build_optimizer(Net(), cfg)


def test_models_parameters_and_groups_are_all_taken():
    net = Net()
    cfg = make_cfg("adam")
    whole = build_optimizer(net, cfg).param_groups[0]["params"]
    assert whole == list(net.parameters())
    assert build_optimizer(net.classifier.parameters(), cfg).param_groups[0]["params"] == list(
        net.classifier.parameters()
    )
    groups = [{"params": net.backbone.parameters(), "lr": 1e-6}]
    assert build_optimizer(net, cfg, groups).param_groups[0]["lr"] == 1e-6


def test_what_is_no_list_of_parameters_is_torchs_to_refuse():
    with pytest.raises(TypeError, match="iterable of Tensors or dicts"):
        build_optimizer(nn.Parameter(torch.ones(2)), make_cfg("adam"))


def test_unknown_name():
    with pytest.raises(ValueError, match="adamw"):
        build_optimizer(Net(), make_cfg("adamx"))


def test_old_cfg_without_our_keys_works():
    cfg = make_cfg("adam")
    cfg.pop("ADAM_EPS")
    assert build_optimizer(Net(), cfg).param_groups[0]["eps"] == 1e-8
