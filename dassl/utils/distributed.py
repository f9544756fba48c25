"""One run in several processes (torchrun), and the device that a process works on.

In one process every function here is the identity and costs nothing: nothing is sent, and
``torch.distributed`` is not touched. A group that a trainer opens by itself is its own business:
only after :func:`init_from_env` does the engine send anything.

A process that fails says so by `say_failure` before it ends. Whoever waits for it then stops with
a `LostProcessError` that has its words.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from dassl.errors import UserError

__all__ = [
    "LostProcessError",
    "average_gradients",
    "average_numbers",
    "broadcast_object",
    "choose_device",
    "failure_of_another",
    "gather_objects",
    "gather_rows",
    "init_from_env",
    "is_main",
    "join",
    "leave",
    "local_rank",
    "main_first",
    "own_share",
    "rank",
    "say_failure",
    "settle_failure",
    "shut_down",
    "sum_over_processes",
    "wait_for_all",
    "world_size",
]

Rows = TypeVar("Rows", np.ndarray, Tensor)

TIMEOUT_S = 600.0  # of an exchange within a step; None of them takes seconds
_WAITING = timedelta(days=7)  # of a wait for work that one process does for all
_POLL_S = 0.02


class LostProcessError(RuntimeError):
    """Another process of the run has failed, has ended, or does not answer."""


class _Place(NamedTuple):
    """This process among those of the run."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0


_place = _Place()
_store: dist.Store | None = None  # what the processes say to each other beside the exchanges
_of_cpu: dist.ProcessGroup | None = None  # None: the group of the GPUs' tensors is that of all
_waiting: dist.ProcessGroup | None = None


# The group -------------------------------------------------------------------------------------


def join(timeout_s: float = TIMEOUT_S) -> bool:
    """Meet the other processes that ``torchrun`` started. They can tell of failures from here on;
    to exchange anything they need `init_from_env`.

    Returns:
        Whether there are several processes. Without torchrun nothing is done.

    Raises:
        UserError: torchrun's variables are incomplete.
    """
    global _place, _store
    if world_size() > 1:
        return True
    place = _place_from_env()
    if place.world_size == 1:
        return False
    timeout = timedelta(seconds=timeout_s)
    sizes = {"rank": place.rank, "world_size": place.world_size}
    store, _, _ = next(dist.rendezvous("env://", **sizes, timeout=timeout))
    _place, _store = place, dist.PrefixStore("cerviclip", store)
    return True


def init_from_env(use_cuda: bool = True, timeout_s: float = TIMEOUT_S) -> bool:
    """Join the other processes that ``torchrun`` started; call it before anything is built.

    Args:
        use_cuda: work on GPUs where there are any (NCCL); else on CPUs (gloo).
        timeout_s: a process that waits longer than this for another ends with an error.

    Returns:
        Whether there are several processes. Without torchrun nothing is done.

    Raises:
        UserError: torchrun's variables are incomplete, or there are fewer GPUs than processes.
    """
    global _of_cpu, _waiting
    if _waiting is not None:
        return True
    place = _place_from_env()
    on_gpu = use_cuda and torch.cuda.is_available() and place.world_size > 1
    if on_gpu and place.local_rank >= torch.cuda.device_count():
        raise UserError(
            f"process {place.local_rank + 1} of this machine finds {torch.cuda.device_count()} "
            "GPUs; start no more processes than GPUs (torchrun --nproc_per_node)"
        )
    if not join(timeout_s):
        return False
    if on_gpu:
        torch.cuda.set_device(local_rank())
    timeout = timedelta(seconds=timeout_s)
    with _exchange():
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=_store,
            rank=rank(),
            world_size=world_size(),
            timeout=timeout,
        )
        _of_cpu = cast(Any, dist.new_group(backend="gloo", timeout=timeout) if on_gpu else None)
        _waiting = cast(Any, dist.new_group(backend="gloo", timeout=_WAITING))
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


def leave() -> None:
    """Close the exchange with the others: who waits for this process gets an error. It can still
    say and hear of failures."""
    global _of_cpu, _waiting
    if _waiting is not None and dist.get_backend() == "gloo":  # NCCL's would wait for the others
        dist.destroy_process_group()
    _of_cpu = _waiting = None


def shut_down() -> None:
    """Leave the group; the process is alone again."""
    global _place, _store, _of_cpu, _waiting
    if _waiting is not None:
        dist.destroy_process_group()
    _place, _store, _of_cpu, _waiting = _Place(), None, None, None


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


# Failures --------------------------------------------------------------------------------------


def say_failure(text: str) -> None:
    """Let the other processes know why this one ends."""
    if _store is not None:
        with suppress(RuntimeError):
            _store.set(f"failure/{rank()}", text)


def failure_of_another() -> str:
    """What another process has said of its failure, the first of them; empty where none has."""
    for number in range(world_size()):
        if number != rank() and (text := _said(f"failure/{number}")):
            return f"process {number + 1} of {world_size()}: {text}"
    return ""


def _said(key: str) -> str:
    """A value that a process has left; empty where there is none, or nobody keeps it any more."""
    global _store
    try:
        if _store is None or not _store.check([key]):
            return ""
        return _store.get(key).decode()
    except RuntimeError:  # whoever kept the values has gone: torch complains at each question
        _store = None
        return ""


def settle_failure(printed: bool, patience_s: float = 10.0) -> bool:
    """Wait for the others to end as well, and agree on who prints the error: the first process.

    Args:
        printed: this is the first process, and it has printed the error.
        patience_s: how long to wait at most.

    Returns:
        Whether the error has been printed.
    """
    if _store is None:
        return printed
    if printed:
        _store.set("printed", "yes")
    keys = ["printed"] if not printed else [f"ended/{n}" for n in range(1, world_size())]
    end = time.monotonic() + patience_s
    while not (settled := all(map(_said, keys))) and _store is not None and time.monotonic() < end:
        time.sleep(_POLL_S)
    if _store is not None:
        with suppress(RuntimeError):  # the first process kept the values, and has gone
            _store.set(f"ended/{rank()}", "yes")
    return printed or settled


@contextmanager
def _exchange() -> Iterator[None]:
    """What is sent or awaited here fails with one line where another process is gone."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, LostProcessError):
            raise
        what = failure_of_another()
        if not what:
            what = f"another process has ended or does not answer ({_short(error)})"
        raise LostProcessError(what) from error


def _short(error: Exception) -> str:
    """The first sentence of a library's message, without the place in its source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^\[[^\]]*\]\s*", "", lines[0]).split(" [")[0].split(". ")[0]


# Exchange --------------------------------------------------------------------------------------


def group_of(device: torch.device) -> dist.ProcessGroup | None:
    """The group that sends tensors of a device; None is the default group."""
    return _of_cpu if device.type == "cpu" else None


def wait_for_all() -> None:
    """Wait until every process is here, however long one of them works.

    Raises:
        LostProcessError: one has failed or is gone.
    """
    if world_size() == 1:
        return
    with _exchange():
        work = dist.barrier(group=_waiting, async_op=True)
        while not work.is_completed():
            if failed := failure_of_another():
                raise LostProcessError(failed)
            time.sleep(_POLL_S)
        work.wait()


@contextmanager
def main_first() -> Iterator[None]:
    """The block runs in the first process, then in all others: what writes shared files is done
    once, and found by the others."""
    if not is_main():
        wait_for_all()
    yield
    if is_main():
        wait_for_all()


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of this tensor over the processes, in its place; without gradients."""
    if world_size() > 1:
        with _exchange():
            dist.all_reduce(tensor, group=group_of(tensor.device))
    return tensor


def average_numbers(numbers: Mapping[str, Any], share: float | None = None) -> dict[str, Any]:
    """The mean of each number over the processes, as scalar tensors on the device of the first.

    Args:
        numbers: the same names in all processes, in one order; numbers or scalar tensors.
        share: of this process in the mean, see `average_gradients`.
    """
    if world_size() == 1 or not numbers:
        return dict(numbers)
    tensors = [torch.as_tensor(value).detach().float().reshape(()) for value in numbers.values()]
    device = tensors[0].device
    means = torch.stack([tensor.to(device) for tensor in tensors]) * _factor(share)
    return dict(zip(numbers, sum_over_processes(means).unbind(), strict=True))


def broadcast_object(value: Any, source: int = 0) -> Any:
    """The value that process ``source`` gives, in all processes (it is pickled)."""
    if world_size() == 1:
        return value
    box = [value if rank() == source else None]
    with _exchange():
        dist.broadcast_object_list(box, src=source, group=_of_cpu)
    return box[0]


def gather_objects(value: Any) -> list[Any]:
    """The values of all processes in the order of their ranks, in all of them (pickled)."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with _exchange():
        dist.all_gather_object(values, value, group=_of_cpu)
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


def average_gradients(parameters: Iterable[Tensor], share: float | None = None) -> None:
    """Replace each gradient by its mean over the processes.

    All must call it with the same parameters in the same order. A parameter that has a gradient in
    some processes only counts as zero in the others; without one anywhere it stays without.

    Args:
        parameters: those that require no gradient are left out.
        share: of this process in the mean: its images among those of the batch. The shares of all
            processes add up to 1. None: all alike.
    """
    if world_size() == 1:
        return
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            groups.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for group in groups.values():
        _average_group(group, _factor(share))


def _factor(share: float | None) -> float:
    return 1 / world_size() if share is None else share


@torch.no_grad()
def _average_group(group: Sequence[Tensor], factor: float) -> None:
    """All gradients of one type on one device in one transfer, with a mark for each of them."""
    first = group[0]
    marks = torch.tensor([p.grad is not None for p in group], dtype=first.dtype)
    parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in group]
    flat = torch.cat([*parts, marks.to(first.device)])
    sums, marks = flat[: -len(group)], flat[-len(group) :]
    sums.mul_(factor)
    sum_over_processes(flat)
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
