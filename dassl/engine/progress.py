"""What a training loop prints: times, running losses, learning rate, time left."""

from __future__ import annotations

import datetime
import time
from typing import Any

import torch

from dassl.utils import AverageMeter, MetricMeter
from dassl.utils.distributed import average_numbers, world_size

from .loss_watch import on_device
from .protocol import Trains

#: What has not been printed goes to the meters at the latest after this many batches.
MOST_WAITING = 256


def _kept(value: Any) -> Any:
    """A number where that costs no waiting: a tensor on the GPU stays there, without its graph."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach() if on_device(value) else value.item()


class EpochProgress:
    """Meters and log lines of one epoch.

    ``forward_backward`` may return tensors: those on a GPU are fetched together when a line is
    printed, so that the loop never waits for the device in between. The meters are brought up to
    date then, too.

    Args:
        trainer: its ``epoch``, ``batch_idx``, ``num_batches`` ... are read; scalars go to its
            ``write_scalar``; ``_check_losses`` is called before each transfer.
        print_freq: batches from one line to the next.
    """

    def __init__(self, trainer: Trains, print_freq: int) -> None:
        self.trainer = trainer
        self.losses = MetricMeter()
        self.batch_time = AverageMeter()
        self.data_time = AverageMeter()
        self.print_freq = print_freq
        self._waiting: list[tuple[dict[str, Any] | None, int, float, tuple[float, float]]] = []
        self._start = self._loaded = time.time()

    def batch_loaded(self) -> None:
        """Call when a batch has come from the loader."""
        self._loaded = time.time()

    def batch_done(self, summary: dict[str, Any] | None) -> None:
        """Call after ``forward_backward`` with what it returned."""
        trainer, now = self.trainer, time.time()
        if summary and world_size() > 1:
            summary = average_numbers(summary, trainer.gradient_share)
        if summary:
            for value in summary.values():
                if isinstance(value, torch.Tensor):  # no graph may live on, no value change
                    summary = {k: _kept(v) for k, v in summary.items()}
                    break
        times = (self._loaded - self._start, now - self._start)
        self._waiting.append((summary, trainer.batch_idx, trainer.get_current_lr(), times))
        done = trainer.batch_idx + 1
        # Upstream's rule: each PRINT_FREQ batches, and each batch of an epoch shorter than that.
        printing = done % self.print_freq == 0 or trainer.num_batches < self.print_freq
        if printing or done == trainer.num_batches or len(self._waiting) >= MOST_WAITING:
            trainer._check_losses()
            self._fetch()
        if printing:
            self._print()
        self._start = time.time()

    def flush(self, before: int | None = None) -> None:
        """Bring what waits to the meters and the history, as the run stops.

        Args:
            before: leave out this batch, whose loss broke, and all that follow.
        """
        if before is not None:
            self._waiting = [waiting for waiting in self._waiting if waiting[1] < before]
        self._fetch()

    def _fetch(self) -> None:
        """Bring what waits to the meters, all tensors of a device in one transfer.

        Together, because the few instructions of each batch would find the processor's caches cold.
        """
        tensors = [
            value.float().reshape(())
            for summary, *_ in self._waiting
            for value in (summary or {}).values()
            if on_device(value)
        ]
        numbers = iter(torch.stack(tensors).tolist() if tensors else ())
        trainer = self.trainer
        first_step = trainer.epoch * trainer.num_batches
        write = trainer.write_scalar
        for summary, batch_idx, lr, (data_time, batch_time) in self._waiting:
            self.data_time.update(data_time)
            self.batch_time.update(batch_time)
            if tensors:
                pairs = (summary or {}).items()
                summary = {k: next(numbers) if on_device(v) else v for k, v in pairs}
            self.losses.update(summary)
            for name, meter in self.losses.meters.items():
                write(f"train/{name}", meter.avg, first_step + batch_idx)
            write("train/lr", lr, first_step + batch_idx)
        self._waiting.clear()

    def _print(self) -> None:
        trainer = self.trainer
        batches_left = trainer.num_batches - trainer.batch_idx - 1
        batches_left += (trainer.max_epoch - trainer.epoch - 1) * trainer.num_batches
        eta = datetime.timedelta(seconds=int(self.batch_time.avg * batches_left))
        print(
            f"epoch [{trainer.epoch + 1}/{trainer.max_epoch}] "
            f"batch [{trainer.batch_idx + 1}/{trainer.num_batches}] "
            f"time {self.batch_time.val:.3f} ({self.batch_time.avg:.3f}) "
            f"data {self.data_time.val:.3f} ({self.data_time.avg:.3f}) "
            f"{self.losses} lr {trainer.get_current_lr():.4e} eta {eta}"
        )
