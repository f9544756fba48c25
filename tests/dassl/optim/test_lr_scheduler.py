"""Every policy and warm-up against upstream's formulae, worked out here epoch by epoch."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.optim.lr_scheduler import LRScheduler

from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.optim.lr_scheduler import (
    AVAI_SCHEDS,
    ConstantWarmupScheduler,
    LinearWarmupScheduler,
    _BaseWarmupScheduler,
)

BASE, EPOCHS = 0.002, 12


def make_cfg(**keys):
    cfg = get_cfg_default().OPTIM
    cfg.NAME, cfg.LR, cfg.MAX_EPOCH = "sgd", BASE, EPOCHS
    for key, value in keys.items():
        setattr(cfg, key, value)
    return cfg


def rates(cfg, epochs=EPOCHS, model=None):
    """Learning rate of each epoch's batches, stepping at each epoch's end as trainers do."""
    optimizer = build_optimizer(model or torch.nn.Linear(2, 2), cfg)
    scheduler = build_lr_scheduler(optimizer, cfg)
    seen = []
    for _ in range(epochs):
        assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return [row[0] for row in seen] if len(seen[0]) == 1 else seen


def single_step(size, gamma=0.1):
    return lambda epoch: BASE * gamma ** (epoch // size)


def multi_step(milestones, gamma=0.1):
    return lambda epoch: BASE * gamma ** sum(epoch >= m for m in milestones)


def cosine(epoch, floor=0.0):
    return floor + (BASE - floor) * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2


POLICIES = [
    ("single_step", {"STEPSIZE": (-1,)}, single_step(EPOCHS)),
    ("single_step", {"STEPSIZE": (0,)}, single_step(EPOCHS)),
    ("single_step", {"STEPSIZE": (1,)}, single_step(1)),
    ("single_step", {"STEPSIZE": (4,)}, single_step(4)),
    ("single_step", {"STEPSIZE": (9, 5), "GAMMA": 0.5}, single_step(5, 0.5)),  # the last counts
    ("multi_step", {"STEPSIZE": (3, 7)}, multi_step((3, 7))),
    ("multi_step", {"STEPSIZE": (2, 2, 9), "GAMMA": 0.3}, multi_step((2, 2, 9), 0.3)),
    ("cosine", {}, cosine),
    ("cosine", {"ETA_MIN": 0.0005}, lambda epoch: cosine(epoch, 0.0005)),
]
WARMUPS = [
    ("constant", 1, lambda epoch: 1e-5),
    ("constant", 3, lambda epoch: 1e-5),
    ("linear", 1, lambda epoch: 1e-5),
    ("linear", 4, lambda epoch: 1e-5 if epoch == 0 else BASE * epoch / 4),
]


def test_table_names_every_policy():
    assert {name for name, _, _ in POLICIES} == set(AVAI_SCHEDS)


@pytest.mark.parametrize(("name", "keys", "formula"), POLICIES)
def test_policy(name, keys, formula):
    got = rates(make_cfg(LR_SCHEDULER=name, **keys))
    assert got == pytest.approx([formula(epoch) for epoch in range(EPOCHS)], rel=1e-12)


@pytest.mark.parametrize(("kind", "length", "warm"), WARMUPS)
@pytest.mark.parametrize(("name", "keys", "formula"), POLICIES)
def test_policy_after_warmup_recounts(name, keys, formula, kind, length, warm):
    cfg = make_cfg(LR_SCHEDULER=name, WARMUP_TYPE=kind, WARMUP_EPOCH=length, **keys)
    expected = [warm(e) if e < length else formula(e - length) for e in range(EPOCHS)]
    assert rates(cfg) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("kind", "length", "warm"), WARMUPS)
def test_single_step_without_recount_counts_the_warmup(kind, length, warm):
    cfg = make_cfg(
        LR_SCHEDULER="single_step",
        STEPSIZE=(5,),
        WARMUP_TYPE=kind,
        WARMUP_EPOCH=length,
        WARMUP_RECOUNT=False,
    )
    expected = [warm(e) if e < length else BASE * 0.1 ** (e // 5) for e in range(EPOCHS)]
    assert rates(cfg) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("length", [1, 3])
def test_multi_step_without_recount_counts_the_warmup(length):
    cfg = make_cfg(
        LR_SCHEDULER="multi_step",
        STEPSIZE=(5, 8),
        WARMUP_TYPE="constant",
        WARMUP_EPOCH=length,
        WARMUP_RECOUNT=False,
    )
    formula = multi_step((5, 8))
    expected = [1e-5 if e < length else formula(e) for e in range(EPOCHS)]
    assert rates(cfg) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("length", [1, 3])
def test_cosine_without_recount_starts_at_the_base_rate(length):
    """torch steps cosine by the ratio of neighbours, so the curve is scaled to begin at BASE."""
    cfg = make_cfg(
        LR_SCHEDULER="cosine",
        WARMUP_TYPE="constant",
        WARMUP_EPOCH=length,
        WARMUP_RECOUNT=False,
    )
    scale = BASE / cosine(length)
    expected = [1e-5 if e < length else scale * cosine(e) for e in range(EPOCHS)]
    assert rates(cfg) == pytest.approx(expected, rel=1e-12)


def test_coop_first_epochs_to_the_printed_digits():
    """CoOp's yaml: sgd 0.002, cosine over 50 epochs, one epoch of constant warm-up at 1e-5."""
    cfg = make_cfg(LR_SCHEDULER="cosine", WARMUP_EPOCH=1, WARMUP_TYPE="constant", MAX_EPOCH=50)
    printed = [f"{rate:.4e}" for rate in rates(cfg, 4)]
    assert printed == ["1.0000e-05", "2.0000e-03", "1.9980e-03", "1.9921e-03"]


def test_staged_rates_keep_their_ratio_through_schedule_and_warmup():
    cfg = make_cfg(
        LR_SCHEDULER="multi_step",
        STEPSIZE=(2,),
        WARMUP_TYPE="linear",
        WARMUP_EPOCH=2,
        STAGED_LR=True,
        NEW_LAYERS=("head",),
        BASE_LR_MULT=0.1,
    )
    model = torch.nn.ModuleDict({"body": torch.nn.Linear(1, 1), "head": torch.nn.Linear(1, 1)})
    expected = [
        [1e-5, 1e-5],
        [BASE * 0.1 / 2, BASE / 2],
        [BASE * 0.1, BASE],
        [BASE * 0.1, BASE],
        [BASE * 0.01, BASE * 0.1],
    ]
    got = rates(cfg, 5, model)
    for row, wanted in zip(got, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("epoch", [-1, 0])
def test_no_warmup_unless_the_length_is_positive(epoch):
    scheduler = build_lr_scheduler(
        torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1), make_cfg(WARMUP_EPOCH=epoch)
    )
    assert not isinstance(scheduler, _BaseWarmupScheduler)


def test_upstreams_signature_with_verbose():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    successor = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    assert ConstantWarmupScheduler(optimizer, successor, 1, 1e-3, -1, False).get_last_lr() == [1e-3]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    successor = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    linear = LinearWarmupScheduler(optimizer, successor, 2, 1e-3, last_epoch=-1, verbose=True)
    assert linear.get_last_lr() == [1e-3]


def test_a_warm_up_may_start_at_a_later_epoch():
    """Upstream's ``last_epoch``, for an optimiser that has run before."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    successor = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    linear = LinearWarmupScheduler(optimizer, successor, 8, 1e-3, last_epoch=1)
    assert linear.last_epoch == 2 and linear.get_last_lr() == pytest.approx([0.1 * 2 / 8])
    constant = ConstantWarmupScheduler(optimizer, successor, 8, 1e-3, last_epoch=1)
    assert constant.last_epoch == 2 and constant.get_last_lr() == [1e-3]


def test_one_epoch_is_enough_for_a_cosine():
    assert rates(make_cfg(LR_SCHEDULER="cosine", MAX_EPOCH=1), 2) == pytest.approx([BASE, 0.0])


def warmed_up(warmup_epoch=2):
    """A cosine schedule behind a linear warm-up, and its optimiser."""
    cfg = make_cfg(LR_SCHEDULER="cosine", WARMUP_TYPE="linear", WARMUP_EPOCH=warmup_epoch)
    optimizer = build_optimizer(torch.nn.Linear(2, 2), cfg)
    return optimizer, build_lr_scheduler(optimizer, cfg)


def go(optimizer, scheduler, epochs):
    seen = []
    for _ in range(epochs):
        optimizer.step()
        scheduler.step()
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")
def test_an_epoch_may_be_named_as_upstream_does():
    """During the warm-up it is the warm-up's epoch, later the successor's."""
    optimizer, scheduler = warmed_up(warmup_epoch=4)
    optimizer.step()
    scheduler.step(3)
    assert scheduler.get_last_lr() == pytest.approx([BASE * 3 / 4])
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([BASE])
    scheduler.step(5)
    assert scheduler.get_last_lr() == pytest.approx([cosine(5)])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(cosine(5))


@pytest.mark.parametrize("done", [1, 2, 5])
def test_a_schedule_goes_on_from_its_state(done):
    """Within the warm-up, at its end and after it; the state holds plain values alone."""
    optimizer, scheduler = warmed_up()
    go(optimizer, scheduler, done)
    state = scheduler.state_dict()
    assert state["successor"]["last_epoch"] == max(0, done - 2)
    assert not any(isinstance(v, (torch.optim.Optimizer, LRScheduler)) for v in state.values())
    other, resumed = warmed_up()
    other.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"]
    resumed.load_state_dict(copy.deepcopy(state))
    assert go(other, resumed, 6) == pytest.approx(go(optimizer, scheduler, 6), rel=1e-12)


def test_a_state_of_upstream_holds_the_successor_itself():
    """And the optimiser of then, which must not take the new one's place."""
    optimizer, scheduler = warmed_up()
    go(optimizer, scheduler, 5)
    state = {**scheduler.state_dict(), "successor": scheduler.successor, "optimizer": optimizer}
    other, resumed = warmed_up()
    other.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"]
    resumed.load_state_dict(state)
    assert resumed.optimizer is other and resumed.successor is not scheduler.successor
    assert resumed.successor.optimizer is other
    assert go(other, resumed, 6) == pytest.approx(go(optimizer, scheduler, 6), rel=1e-12)


def test_a_state_without_a_successor_leaves_the_successor_alone():
    optimizer, scheduler = warmed_up()
    state = {k: v for k, v in scheduler.state_dict().items() if k != "successor"}
    successor = scheduler.successor
    scheduler.load_state_dict({**state, "last_epoch": 2})
    assert scheduler.successor is successor and scheduler.last_epoch == 2


def test_a_cosine_of_an_old_configuration_ends_at_zero():
    cfg = make_cfg(LR_SCHEDULER="cosine")
    cfg.pop("ETA_MIN")
    assert rates(cfg) == pytest.approx([cosine(epoch) for epoch in range(EPOCHS)], rel=1e-12)


@pytest.mark.parametrize(
    ("keys", "error", "said"),
    [
        ({"LR_SCHEDULER": "cosin"}, ValueError, "cosine"),
        ({"WARMUP_EPOCH": 1, "WARMUP_TYPE": "exp"}, ValueError, "linear"),
        ({"STEPSIZE": (1.5,)}, TypeError, "STEPSIZE"),
        ({"LR_SCHEDULER": "multi_step", "STEPSIZE": 3}, TypeError, "STEPSIZE"),
        ({"LR_SCHEDULER": "cosine", "MAX_EPOCH": 0}, ValueError, "MAX_EPOCH is 0"),
    ],
)
def test_errors(keys, error, said):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(error, match=said):
        build_lr_scheduler(optimizer, make_cfg(**keys))
