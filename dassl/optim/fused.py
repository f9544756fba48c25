"""torch's fused optimisers on CUDA: one kernel for all parameters, no wait under a gradient scaler.

torch never takes them by itself. On a CPU, where it has them too, they are left alone: upstream's
numbers are kept there to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

DEVICES = ("cuda",)


def listed(params: Iterable[Any]) -> Iterable[Any]:
    """Parameters or groups that can be looked at before the optimiser takes them."""
    entries = list(params) if isinstance(params, Iterator) else params
    for group in entries:
        if isinstance(group, dict) and isinstance(group.get("params"), Iterator):
            group["params"] = list(group["params"])  # in place, as torch does
    return entries


def fused_option(params: Iterable[Any]) -> dict[str, bool]:
    """``{"fused": True}`` where all parameters are of a kind that the kernels take, else nothing.

    That is, floating-point numbers on one of ``DEVICES``, all on the same one. An optimiser built
    before its model is moved there stays plain.
    """
    tensors = list(_tensors(params))
    device = tensors[0].device if tensors else None
    fits = device is not None and device.type in DEVICES
    fits = fits and all(t.device == device and t.is_floating_point() for t in tensors)
    return {"fused": True} if fits else {}


def _tensors(params: Iterable[Any]) -> Iterator[Tensor]:
    for entry in params:
        if isinstance(entry, dict):
            inner = entry["params"]
            yield from _tensors([inner] if isinstance(inner, Tensor) else inner)
        else:
            yield entry[1] if isinstance(entry, tuple) else entry  # a pair of name and tensor


def prepared(optimizer: Optimizer) -> Optimizer:
    """The optimiser with the hooks that it needs to start, and to continue on another device."""
    optimizer.register_load_state_dict_pre_hook(_keep_own_kernels)
    if isinstance(optimizer, SGD) and any(group.get("fused") for group in optimizer.param_groups):
        optimizer.register_step_pre_hook(_start_momentum)
    return optimizer


def _keep_own_kernels(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any] | None:
    """A checkpoint brings the choice of the device that it was written on, which torch would take.

    A fused optimiser made plain that way fails under a gradient scaler.
    """
    own, saved = optimizer.param_groups, state["param_groups"]
    if len(own) != len(saved):
        return None  # torch says what is wrong
    groups = [{**new, "fused": old.get("fused")} for old, new in zip(own, saved, strict=True)]
    return {**state, "param_groups": groups}


def _start_momentum(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Momentum from zero, which without dampening is what the first step makes of it.

    torch's own start leaves it uninitialised where a gradient scaler skips the first step, and
    fails where a parameter gets its first gradient later than another.
    """
    for group in optimizer.param_groups:
        if group["momentum"] == 0:
            continue
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = optimizer.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
