"""Freezing, counting and initialising layers."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn import init
from torch.optim import Optimizer

from dassl.utils.checkpoints import (
    load_checkpoint,
    load_pretrained_weights,
    resume_from_checkpoint,
    save_checkpoint,
)
from dassl.utils.tools import mkdir_if_missing

__all__ = [
    "adjust_learning_rate",
    "count_num_param",
    "init_network_weights",
    "load_checkpoint",
    "load_pretrained_weights",
    "mkdir_if_missing",
    "open_all_layers",
    "open_specified_layers",
    "resume_from_checkpoint",
    "save_checkpoint",
    "set_bn_to_eval",
]


def adjust_learning_rate(
    optimizer: Optimizer,
    base_lr: float,
    epoch: int,
    stepsize: int | list[int] = 20,
    gamma: float = 0.1,
    linear_decay: bool = False,
    final_lr: float = 0,
    max_epoch: int = 100,
) -> None:
    """Set every group's learning rate by steps or, with ``linear_decay``, on a straight line.

    Args:
        optimizer: its groups are changed.
        base_lr: learning rate of epoch 0.
        epoch: the epoch that is about to run.
        stepsize: epochs between two steps (upstream documents a list; its last entry is used).
        gamma: factor of one step.
        linear_decay: from ``base_lr`` to ``final_lr`` over ``max_epoch`` instead.
        final_lr: end of the line.
        max_epoch: length of the line.
    """
    if linear_decay:
        done = epoch / max_epoch
        lr = done * final_lr + (1.0 - done) * base_lr
    else:
        step = stepsize[-1] if isinstance(stepsize, (list, tuple)) else stepsize
        lr = base_lr * gamma ** (epoch // step)
    for group in optimizer.param_groups:
        group["lr"] = lr


def set_bn_to_eval(m: nn.Module) -> None:
    """For ``model.apply``: batch norms use and keep their running statistics."""
    if "BatchNorm" in type(m).__name__:
        m.eval()


def open_all_layers(model: nn.Module) -> None:
    """Train mode and gradients for all layers."""
    model.train()
    for parameter in model.parameters():
        parameter.requires_grad = True


def open_specified_layers(model: nn.Module, open_layers: str | list[str]) -> None:
    """Train mode and gradients for the named children only; the others are frozen, in eval mode.

    Raises:
        ValueError: the model has no such child.
    """
    if isinstance(model, nn.DataParallel):
        model = model.module
    names = [open_layers] if isinstance(open_layers, str) else list(open_layers)
    children = dict(model.named_children())
    for name in names:
        if name not in children and not hasattr(model, name):
            raise ValueError(
                f'"{name}" is not an attribute of the model, whose parts are: '
                f"{', '.join(children)}; please provide the correct name"
            )
    for name, module in children.items():
        is_open = name in names
        module.train(is_open)
        for parameter in module.parameters():
            parameter.requires_grad = is_open


def count_num_param(model: nn.Module | None = None, params: Iterable | dict | None = None) -> int:
    """Number of parameters of a model, or of an optimiser's parameters or parameter groups."""
    if model is not None:
        return sum(p.numel() for p in model.parameters())
    if params is None:
        raise ValueError("model and params must provide at least one.")
    total = 0
    for item in params:
        if isinstance(item, dict):
            inner = item["params"]
            total += inner.numel() if hasattr(inner, "numel") else sum(p.numel() for p in inner)
        else:
            total += item.numel()
    return total


def init_network_weights(model: nn.Module, init_type: str = "normal", gain: float = 0.02) -> None:
    """Initialise convolutions, linear layers and norms.

    Args:
        model: changed in place.
        init_type: normal, xavier, kaiming or orthogonal.
        gain: standard deviation (normal) or gain (xavier, orthogonal).
    """
    if init_type not in ("normal", "xavier", "kaiming", "orthogonal"):
        raise NotImplementedError(f"initialization method {init_type} is not implemented")

    def initialise(module: nn.Module) -> None:
        name = type(module).__name__
        weight = getattr(module, "weight", None)
        bias = getattr(module, "bias", None)
        if weight is not None and ("Conv" in name or "Linear" in name):
            if init_type == "normal":
                init.normal_(weight.data, 0.0, gain)
            elif init_type == "xavier":
                init.xavier_normal_(weight.data, gain=gain)
            elif init_type == "kaiming":
                init.kaiming_normal_(weight.data, a=0, mode="fan_in")
            else:
                init.orthogonal_(weight.data, gain=gain)
            if bias is not None:
                init.constant_(bias.data, 0.0)
        elif "BatchNorm" in name or "InstanceNorm" in name:
            if weight is not None:
                init.constant_(weight.data, 1.0)
            if bias is not None:
                init.constant_(bias.data, 0.0)

    model.apply(initialise)
