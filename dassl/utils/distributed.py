"""One run in several processes (torchrun), and the device that a process works on.

In one process every function here is the identity and costs nothing: nothing is sent, and
``torch.distributed`` is not touched. A group that a trainer opens by itself is its own business:
only after :func:`init_from_env` does the engine send anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from dassl.errors import UserError

__all__ = [
    "average_gradients",
    "barrier",
    "broadcast_object",
    "choose_device",
    "gather_objects",
    "gather_rows",
    "init_from_env",
    "is_main",
    "local_rank",
    "own_share",
    "rank",
    "shut_down",
    "world_size",
]

Rows = TypeVar("Rows", np.ndarray, Tensor)


class _Place(NamedTuple):
    """This process among those of the run."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0


_place = _Place()


# The group -------------------------------------------------------------------------------------


def init_from_env(use_cuda: bool = True, timeout_s: float = 600.0) -> bool:
    """Join the other processes that ``torchrun`` started; call it before anything is built.

    Args:
        use_cuda: work on GPUs where there are any (NCCL); else on CPUs (gloo).
        timeout_s: a process that waits longer than this for another ends with an error.

    Returns:
        Whether there are several processes. Without torchrun nothing is done.

    Raises:
        UserError: torchrun's variables are incomplete, or there are fewer GPUs than processes.
    """
    global _place
    if world_size() > 1:
        return True
    place = _place_from_env()
    if place.world_size == 1:
        return False
    on_gpu = use_cuda and torch.cuda.is_available()
    if on_gpu:
        if place.local_rank >= torch.cuda.device_count():
            raise UserError(
                f"process {place.local_rank + 1} of this machine finds {torch.cuda.device_count()} "
                "GPUs; start no more processes than GPUs (torchrun --nproc_per_node)"
            )
        torch.cuda.set_device(place.local_rank)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        rank=place.rank,
        world_size=place.world_size,
        timeout=timedelta(seconds=timeout_s),
    )
    _place = place
    return True


def _place_from_env() -> _Place:
    if "WORLD_SIZE" not in os.environ and "RANK" not in os.environ:
        return _Place()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    try:
        place = _Place(*(int(os.environ[name]) for name in names))
    except (KeyError, ValueError) as error:
        raise UserError(
            f"the environment has {error} where torchrun sets {', '.join(names)}; start the run by "
            "torchrun, or unset all three"
        ) from None
    if place.world_size > 1 and not {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        raise UserError("MASTER_ADDR or MASTER_PORT is not set; start the run by torchrun")
    return place


def shut_down() -> None:
    """Leave the group; the process is alone again."""
    global _place
    if world_size() > 1:
        dist.destroy_process_group()
    _place = _Place()


def rank() -> int:
    """Number of this process, from 0."""
    return _place.rank


def world_size() -> int:
    """How many processes the run has."""
    return _place.world_size


def local_rank() -> int:
    """Number of this process among those of its machine, from 0."""
    return _place.local_rank


def is_main() -> bool:
    """Whether this is the process that writes files and prints."""
    return _place.rank == 0


def choose_device(use_cuda: bool = True) -> torch.device:
    """Where this process works: its GPU if there is one and ``use_cuda`` (``cfg.USE_CUDA``), else
    the CPU."""
    if not (torch.cuda.is_available() and use_cuda):
        return torch.device("cpu")
    return torch.device("cuda", _place.local_rank) if world_size() > 1 else torch.device("cuda")


@lru_cache(maxsize=16)
def device_type(device: torch.device | str | int) -> str:
    """``cpu``, ``cuda`` ... of whatever ``Tensor.to`` takes for a device.

    Trainers of the field set ``self.device`` to a string or an index as often as to a device.
    """
    return torch.device(device).type


# Exchange --------------------------------------------------------------------------------------


def barrier() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        dist.barrier()


def broadcast_object(value: Any, source: int = 0) -> Any:
    """The value that process ``source`` gives, in all processes (it is pickled)."""
    if world_size() == 1:
        return value
    box = [value if rank() == source else None]
    dist.broadcast_object_list(box, src=source)
    return box[0]


def gather_objects(value: Any) -> list[Any]:
    """The values of all processes in the order of their ranks, in all of them (pickled)."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def own_share(count: int) -> range:
    """Which of ``count`` things this process sees to.

    The shares differ by one at most, may be empty, and give all things in order when what was made
    of them goes through :func:`gather_rows`.
    """
    return range(count * rank() // world_size(), count * (rank() + 1) // world_size())


def gather_rows(rows: Rows) -> Rows:
    """The rows of all processes below each other, in the order of their ranks, in all of them.

    Args:
        rows: (N, ...) with any N, 0 too; an array without rows may have another shape and type than
            those of the others. A tensor's device is kept, its graph is not.
    """
    if world_size() == 1:
        return rows
    parts: Any = gather_objects(rows.detach().cpu() if isinstance(rows, Tensor) else rows)
    parts = [part for part in parts if len(part)] or parts[:1]
    return torch.cat(parts).to(rows.device) if isinstance(rows, Tensor) else np.concatenate(parts)


def average_gradients(parameters: Iterable[Tensor], weight: float | None = None) -> None:
    """Replace each gradient by its mean over the processes.

    All must call it with the same parameters in the same order. A parameter that has a gradient in
    some processes only counts as zero in the others; without one anywhere it stays without.

    Args:
        parameters: those that require no gradient are left out.
        weight: of this process in the mean, such as the images of its part of a batch where the
            parts differ; None for all alike. 0 is allowed, but not in all processes.
    """
    if world_size() == 1:
        return
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            groups.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for group in groups.values():
        _average_group(group, _own_factor(weight, group[0].device))


def _own_factor(weight: float | None, device: torch.device) -> float | Tensor:
    """What this process's gradients are multiplied by before they are summed up."""
    if weight is None:
        return 1 / world_size()
    total = torch.tensor(float(weight), device=device)
    dist.all_reduce(total)
    return weight / total


@torch.no_grad()
def _average_group(group: Sequence[Tensor], factor: float | Tensor) -> None:
    """All gradients of one type on one device in one transfer, with a mark for each of them."""
    first = group[0]
    marks = torch.tensor([p.grad is not None for p in group], dtype=first.dtype)
    parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in group]
    flat = torch.cat([*parts, marks.to(first.device)])
    sums, marks = flat[: -len(group)], flat[-len(group) :]
    sums.mul_(factor)
    dist.all_reduce(flat)
    # Where a gradient is there the mark is known, and on a GPU nobody need wait for it.
    lacking = any(p.grad is None for p in group)
    found = (marks > 0).tolist() if lacking else [True] * len(group)
    for parameter, mean, elsewhere in zip(
        group, sums.split([p.numel() for p in group]), found, strict=True
    ):
        if parameter.grad is not None:
            parameter.grad.copy_(mean.view_as(parameter.grad))
        elif elsewhere:
            parameter.grad = mean.view_as(parameter).clone()
