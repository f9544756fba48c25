"""Checkpoints of ours and of upstream, saving, resuming, and what goes wrong with files."""

from __future__ import annotations

import os
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from torch import nn

from dassl.config import get_cfg_default
from dassl.errors import UserError
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import (
    load_checkpoint,
    load_pretrained_weights,
    resume_from_checkpoint,
    save_checkpoint,
)
from dassl.utils.checkpoints import load_scheduler_state, to_plain


def training_parts(policy="cosine", warmup="constant", name="sgd"):
    torch.manual_seed(0)
    cfg = get_cfg_default().OPTIM
    cfg.NAME, cfg.LR, cfg.MAX_EPOCH = name, 0.1, 20
    cfg.LR_SCHEDULER, cfg.WARMUP_TYPE, cfg.WARMUP_EPOCH = policy, warmup, 2
    if policy == "multi_step":
        cfg.STEPSIZE = (4, 6)
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(model, cfg)
    return model, optimizer, build_lr_scheduler(optimizer, cfg)


def train(model, optimizer, scheduler, epochs):
    rates = []
    for _ in range(epochs):
        model(torch.ones(2, 3)).pow(2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    return rates


def state_of(model, optimizer, scheduler, epoch):
    return {
        "state_dict": model.state_dict(),
        "epoch": epoch,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "val_result": np.float64(93.6),
    }


@pytest.mark.parametrize("policy", ["single_step", "multi_step", "cosine"])
@pytest.mark.parametrize("warmup", ["constant", "linear"])
@pytest.mark.parametrize("killed_after", [1, 2, 5])
def test_resume_goes_on_as_if_never_stopped(tmp_path, policy, warmup, killed_after):
    whole = training_parts(policy, warmup, "adam")
    rates = train(*whole, 10)
    first = training_parts(policy, warmup, "adam")
    train(*first, killed_after)
    save_checkpoint(state_of(*first, killed_after), tmp_path)
    second = training_parts(policy, warmup, "adam")
    assert resume_from_checkpoint(tmp_path, *second) == killed_after
    assert train(*second, 10 - killed_after) == rates[killed_after:]
    for left, right in zip(whole[0].parameters(), second[0].parameters(), strict=True):
        assert torch.equal(left, right)


def test_files_and_keys_are_upstreams(tmp_path, capsys):
    save_checkpoint(state_of(*training_parts(), 50), tmp_path / "prompt_learner", is_best=True)
    folder = tmp_path / "prompt_learner"
    assert sorted(os.listdir(folder)) == ["checkpoint", "model-best.pth.tar", "model.pth.tar-50"]
    assert (folder / "checkpoint").read_text() == "model.pth.tar-50\n"
    for name in ("model-best.pth.tar", "model.pth.tar-50"):
        read = torch.load(folder / name, weights_only=True)
        assert list(read) == ["state_dict", "epoch", "optimizer", "scheduler", "val_result"]
        assert type(read["val_result"]) is float and read["val_result"] == 93.6
    assert f"Checkpoint saved to {folder}" in capsys.readouterr().out


def test_module_prefix_is_dropped_and_names_can_be_given(tmp_path):
    state = {"state_dict": OrderedDict({"module.w": torch.ones(1), "b": torch.ones(1)}), "epoch": 1}
    save_checkpoint(dict(state), tmp_path, model_name="model-best.pth.tar")
    assert (tmp_path / "checkpoint").read_text() == "model-best.pth.tar\n"
    assert list(load_checkpoint(tmp_path / "model-best.pth.tar")["state_dict"]) == ["w", "b"]
    save_checkpoint(dict(state), tmp_path, remove_module_from_keys=False)
    assert list(load_checkpoint(tmp_path / "model.pth.tar-1")["state_dict"]) == ["module.w", "b"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    save_checkpoint({"state_dict": {"w": torch.ones(1)}, "epoch": 1}, tmp_path)

    def full_disk(*args, **kwargs):
        args[1].write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError):
        save_checkpoint({"state_dict": {"w": torch.zeros(1)}, "epoch": 1}, tmp_path)
    assert load_checkpoint(tmp_path / "model.pth.tar-1")["state_dict"]["w"] == 1
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "model.pth.tar-1"]


class UpstreamWarmup(torch.optim.lr_scheduler.LRScheduler):
    """As upstream's: its state_dict holds the successor itself, a live object."""

    def __init__(self, optimizer, successor, warmup_epoch):
        self.successor, self.warmup_epoch, self.cons_lr = successor, warmup_epoch, 1e-5
        super().__init__(optimizer)

    def get_lr(self):
        return [self.cons_lr for _ in self.base_lrs]


UpstreamWarmup.__module__ = "dassl.optim.lr_scheduler"
UpstreamWarmup.__qualname__ = UpstreamWarmup.__name__ = "ConstantWarmupScheduler"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("policy", ["cosine", "multi_step"])
def test_upstream_checkpoint_loads_and_resumes(tmp_path, zipped, policy):
    """A file as upstream wrote it: live successor, numpy scalar, defaultdict, Counter."""
    model, optimizer, ours = training_parts(policy)
    train(model, optimizer, ours, 5)
    live = ours.successor  # holds the optimiser, and that the parameters
    scheduler = {**ours.state_dict(), "successor": live}
    state = state_of(model, optimizer, ours, 5)
    state["scheduler"] = scheduler
    state["meters"] = defaultdict(dict, loss={"avg": np.float32(0.5)})
    state["counts"] = Counter(a=2)
    torch.save(state, tmp_path / "model.pth.tar-5", _use_new_zipfile_serialization=zipped)
    (tmp_path / "checkpoint").write_text("model.pth.tar-5\n")
    with pytest.raises(Exception, match="(?i)weights.?only"):
        torch.load(tmp_path / "model.pth.tar-5", weights_only=True)

    read = load_checkpoint(tmp_path / "model.pth.tar-5")
    assert read["val_result"] == 93.6 and read["epoch"] == 5
    assert torch.equal(read["state_dict"]["weight"], model.weight)
    assert read["meters"]["loss"]["avg"] == 0.5 and read["counts"] == {"a": 2}
    assert not isinstance(read["scheduler"]["successor"], torch.optim.lr_scheduler.LRScheduler)

    whole = training_parts(policy)
    rates = train(*whole, 10)
    fresh = training_parts(policy)
    assert resume_from_checkpoint(tmp_path, *fresh) == 5
    assert train(*fresh, 5) == rates[5:]


def test_schedulers_of_others_are_saved_plain_and_restored_in_place(tmp_path):
    """A repository's own warm-up class, whose state_dict is torch's: it holds a live scheduler."""
    model, optimizer, _ = training_parts()
    successor = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    foreign = UpstreamWarmup(optimizer, successor, 1)
    state = to_plain(foreign.state_dict())
    assert state["successor"]["T_max"] == 20
    successor.last_epoch = 7
    load_scheduler_state(foreign, state)
    assert foreign.successor is successor and successor.last_epoch == 0


def test_what_is_no_plain_value_is_left_out_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"checkpoint\.hook is a function"):
        save_checkpoint({"state_dict": {}, "epoch": 1, "hook": lambda: 1}, tmp_path)
    assert "hook" not in load_checkpoint(tmp_path / "model.pth.tar-1")


def test_parameters_buffers_and_odd_values_become_plain():
    value = to_plain(
        {
            "p": nn.Parameter(torch.ones(2)),
            "g": (torch.ones(2, requires_grad=True) * 2),
            "n": np.arange(3),
            "s": {1, 2},
            "t": (1, [None, "x", b"y"]),
            np.int64(3): torch.float16,
        }
    )
    assert value["n"].tolist() == [0, 1, 2] and value["s"] == [1, 2]
    assert value["t"] == (1, [None, "x", b"y"]) and value[3] == torch.float16
    assert not value["g"].requires_grad


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
def test_damaged_files_are_one_line(tmp_path, content):
    path = tmp_path / "model.pth.tar-1"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_truncated_file(tmp_path):
    save_checkpoint({"state_dict": {"w": torch.rand(1000)}, "epoch": 1}, tmp_path)
    path = tmp_path / "model.pth.tar-1"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(path)


def test_upstreams_exception_types(tmp_path):
    with pytest.raises(ValueError, match="None"):
        load_checkpoint(None)
    with pytest.raises(FileNotFoundError, match="absent"):
        load_checkpoint(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="checkpoint"):
        resume_from_checkpoint(tmp_path, nn.Linear(1, 1))
    with pytest.raises(UserError, match="folder"):
        load_checkpoint(tmp_path)


class Picky(nn.Module):
    def load_state_dict(self, state):
        raise UserError("other base weights")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Linear(3, 5), r"weight has shape \[4, 3\], \[5, 3\] expected"),
        (nn.Linear(3, 4, bias=False), "1 are unknown, the first is bias"),
        (nn.Conv2d(1, 1, 1), r"weight has shape \[4, 3\], \[1, 1, 1, 1\] expected"),
        (nn.Sequential(nn.Linear(3, 4)), "2 tensors are missing, the first is 0.bias, 2 are unkn"),
        (Picky(), "other base weights"),
    ],
)
def test_a_misfit_is_one_line_with_file_and_tensor(tmp_path, model, said):
    save_checkpoint({"state_dict": nn.Linear(3, 4).state_dict(), "epoch": 1}, tmp_path)
    with pytest.raises(UserError, match=said) as caught:
        resume_from_checkpoint(tmp_path, model)
    assert str(tmp_path / "model.pth.tar-1") in str(caught.value) and "\n" not in str(caught.value)
    assert isinstance(caught.value, RuntimeError), "what torch raises, and upstream lets through"


def test_an_optimizer_that_does_not_fit_is_one_line_too(tmp_path):
    model, other = nn.Linear(3, 4), nn.Linear(3, 4, bias=False)
    state = {"state_dict": model.state_dict(), "epoch": 1}
    state["optimizer"] = torch.optim.SGD(other.parameters(), lr=0.1).state_dict()
    save_checkpoint(state, tmp_path)
    with pytest.raises(UserError, match="tar-1 does not fit .* its optimizer: ") as caught:
        resume_from_checkpoint(tmp_path, model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert "\n" not in str(caught.value)


def test_an_error_inside_a_model_is_not_taken_for_a_misfit(tmp_path):
    class Broken(nn.Linear):
        def load_state_dict(self, state):
            raise RuntimeError("a bug")

    save_checkpoint({"state_dict": nn.Linear(3, 4).state_dict(), "epoch": 1}, tmp_path)
    with pytest.raises(RuntimeError, match="^a bug$"):
        resume_from_checkpoint(tmp_path, Broken(3, 4))


def test_pretrained_weights_that_fit_are_loaded(tmp_path, capsys):
    source = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    target = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    weights = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save(weights, tmp_path / "bare.pth")
    load_pretrained_weights(target, tmp_path / "bare.pth")
    assert torch.equal(target[0].weight, source[0].weight)
    assert target[1].weight.shape == (5, 4)
    out = capsys.readouterr().out
    assert "Successfully loaded" in out and "['1.weight', '1.bias']" in out
    with pytest.warns(UserWarning, match="no name and shape fits"):
        load_pretrained_weights(nn.Conv2d(1, 1, 1), tmp_path / "bare.pth")
