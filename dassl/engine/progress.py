"""What a training loop prints: times, running losses, learning rate, time left."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING, Any

import torch

from dassl.utils import AverageMeter, MetricMeter

if TYPE_CHECKING:
    from .trainer import SimpleTrainer

#: Losses left on the GPU are fetched at the latest after this many batches.
MOST_WAITING = 256


def _on_gpu(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_cuda


class EpochProgress:
    """Meters and log lines of one epoch.

    ``forward_backward`` may return tensors: those on a GPU are fetched together when a line is
    printed, so that the loop never waits for the device in between.

    Args:
        trainer: its ``epoch``, ``batch_idx``, ``num_batches`` ... are read; scalars go to its
            ``write_scalar``.
    """

    def __init__(self, trainer: SimpleTrainer) -> None:
        self.trainer = trainer
        self.losses = MetricMeter()
        self.batch_time = AverageMeter()
        self.data_time = AverageMeter()
        self.print_freq = trainer.cfg.TRAIN.PRINT_FREQ
        self._waiting: list[tuple[dict[str, Any], int, float]] = []
        self._start = time.time()

    def batch_loaded(self) -> None:
        """Call when a batch has come from the loader."""
        self.data_time.update(time.time() - self._start)

    def batch_done(self, summary: dict[str, Any] | None) -> None:
        """Call after ``forward_backward`` with what it returned."""
        trainer = self.trainer
        self.batch_time.update(time.time() - self._start)
        done = trainer.batch_idx + 1
        step = trainer.epoch * trainer.num_batches + trainer.batch_idx
        summary = summary or {}
        on_device = any(_on_gpu(value) for value in summary.values())
        if on_device:  # no graph may live on until the value is fetched
            summary = {k: v.detach() if _on_gpu(v) else v for k, v in summary.items()}
        self._waiting.append((summary, step, trainer.get_current_lr()))
        # Upstream's rule: each PRINT_FREQ batches, and each batch of an epoch shorter than that.
        printing = done % self.print_freq == 0 or trainer.num_batches < self.print_freq
        last = done == trainer.num_batches
        if printing or last or not on_device or len(self._waiting) >= MOST_WAITING:
            self._fetch()
        if printing:
            self._print()
        self._start = time.time()

    def _fetch(self) -> None:
        """Bring the waiting losses to the meters, all tensors of a device in one transfer."""
        tensors = [
            value.float().reshape(())
            for summary, _, _ in self._waiting
            for value in summary.values()
            if _on_gpu(value)
        ]
        numbers = iter(torch.stack(tensors).tolist() if tensors else ())
        write = self.trainer.write_scalar
        for summary, step, lr in self._waiting:
            if tensors:
                summary = {k: next(numbers) if _on_gpu(v) else v for k, v in summary.items()}
            self.losses.update(summary)
            for name, meter in self.losses.meters.items():
                write(f"train/{name}", meter.avg, step)
            write("train/lr", lr, step)
        self._waiting.clear()

    def _print(self) -> None:
        trainer = self.trainer
        batches_left = trainer.num_batches - trainer.batch_idx - 1
        batches_left += (trainer.max_epoch - trainer.epoch - 1) * trainer.num_batches
        eta = datetime.timedelta(seconds=int(self.batch_time.avg * batches_left))
        print(
            f"epoch [{trainer.epoch + 1}/{trainer.max_epoch}]",
            f"batch [{trainer.batch_idx + 1}/{trainer.num_batches}]",
            f"time {self.batch_time.val:.3f} ({self.batch_time.avg:.3f})",
            f"data {self.data_time.val:.3f} ({self.data_time.avg:.3f})",
            str(self.losses),
            f"lr {trainer.get_current_lr():.4e}",
            f"eta {eta}",
        )
