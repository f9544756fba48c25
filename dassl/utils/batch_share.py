"""The part of a batch that one process of several works on, and random draws in such a step.

All processes have their global generators in one state, as a run in one process has it, so that
they agree on orders and augmentations. Within a step a process sees its own images alone: dropout
would move each generator by another amount. So a step draws from a stream of the process's own.
What is drawn for each image of a batch goes through `draw_rows` instead: the draw is made for the
whole batch, from the common state, and each process takes its rows.

Python's and NumPy's generators stay common: what a step takes of them is one number for a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dassl.utils import distributed
from dassl.utils.rng import get_rng_state, set_rng_state, stable_seed


class Share(NamedTuple):
    """Which rows of a batch are this process's."""

    total: int
    rows: range

    @classmethod
    def of(cls, total: int) -> Share:
        return cls(total, distributed.own_share(total))

    @property
    def weight(self) -> float:
        """Of this process in a mean over the batch's images."""
        return len(self.rows) / self.total


_share: Share | None = None  # of the step at hand; None outside of steps and in one process
_common: tuple[Tensor, Tensor | None] | None = None  # the common stream, while a step is on
_own: tuple[Tensor, Tensor | None] | None = None  # this process's stream, between its steps


def current_share() -> Share | None:
    """That of the step at hand; None outside of steps, and in a run of one process."""
    return _share


def own_rows(count: int) -> slice:
    """Where the ``count`` images that are here stand in the whole batch."""
    return slice(0, count) if _share is None else slice(_share.rows.start, _share.rows.stop)


def _streams() -> tuple[Tensor, Tensor | None]:
    """torch's generators: that of the CPU, and that of the GPU where one is in use."""
    gpu = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    return torch.get_rng_state(), gpu


def _set_streams(streams: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(streams[0])
    if streams[1] is not None:
        torch.cuda.set_rng_state(streams[1])


@contextmanager
def step_of(share: Share) -> Iterator[None]:
    """A step on this part of a batch."""
    global _share, _common, _own
    _share, _common = share, _streams()
    if _own is not None:
        _set_streams(_own)
    try:
        yield
    finally:
        _own = _streams()
        _set_streams(_common)
        _share = _common = None


def draw_rows(count: int, draw: Callable[[int], Tensor]) -> Tensor:
    """Random numbers for each image of a batch: (B, ...) for the B images that are here.

    Args:
        count: B.
        draw: makes such numbers for any number of images, by torch's generators.
    """
    global _common
    if _share is None or _common is None or count != len(_share.rows):
        return draw(count)
    own = _streams()
    _set_streams(_common)
    whole = draw(_share.total)
    _common = _streams()
    _set_streams(own)
    return whole[_share.rows.start : _share.rows.stop]


def align_generators(*parts: Any) -> None:
    """Give all processes the first one's generators, and each a stream of its own for its steps.

    Args:
        parts: what that stream is seeded by besides the process's number, such as seed and epoch.
    """
    global _own
    if distributed.world_size() == 1:
        return
    state = get_rng_state()
    gpu = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    state, gpu = distributed.broadcast_object((state | {"cuda": []}, gpu))
    set_rng_state(state)
    if gpu is not None:
        torch.cuda.set_rng_state(gpu)
    common = _streams()
    torch.manual_seed(stable_seed("stream of a process", distributed.rank(), *parts))
    _own = _streams()
    _set_streams(common)


# Terms over a whole batch ------------------------------------------------------------------------


class _WholeBatch(torch.autograd.Function):
    """Own rows to those of all processes, in the order of the batch."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, share: Share) -> Tensor:
        ctx.share = share
        whole = rows.new_zeros(share.total, *rows.shape[1:])
        whole[share.rows.start : share.rows.stop] = rows
        return distributed.sum_over_processes(whole)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # Gradients are weighted by the share when they are averaged, so the others' count by theirs
        # here, and what comes back is divided by the own one.
        share = ctx.share
        total = distributed.sum_over_processes(gradient * share.weight)
        return total[share.rows.start : share.rows.stop] / share.weight, None


def whole_batch(rows: Tensor) -> Tensor:
    """The rows (B, ...) of the whole batch, of those (b, ...) of this process; with gradients.

    For losses that compare the images of a batch. Each process works out the whole loss; the mean
    of their gradients is that of one process. In one process it is the identity.
    """
    if _share is None:
        return rows
    if rows.dtype == torch.bool:
        raise TypeError("rows of numbers, not of truth values")
    return _WholeBatch.apply(rows, _share)


class _SumOverBatch(torch.autograd.Function):
    """Sum of the processes' values, of which each is a sum over its own images."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return distributed.sum_over_processes(value.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return distributed.sum_over_processes(gradient * ctx.weight) / ctx.weight, None


def sum_over_batch(value: Tensor) -> Tensor:
    """A sum over the images that are here to that over the whole batch; with gradients."""
    return value if _share is None else _SumOverBatch.apply(value, _share.weight)


def forget_streams() -> None:
    """As in a new process."""
    global _own
    _own = None
