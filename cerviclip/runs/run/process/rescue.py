"""Checkpoints of a training that may be stopped, at epochs that the configuration does not name.

They are the engine's own checkpoints (weights, optimiser, schedule, history, random states), so a
run goes on from them exactly. They are written at the end of an epoch: when a signal has asked the
job to stop, and before that every few minutes, for a kill that comes without a signal or before the
epoch ends. When the training is done they are removed, so that the folder is that of any other run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cerviclip.runs.run.process.stop import Stop, Stopped, current_stop
from cerviclip.runs.settings.folders import RESCUED
from cerviclip.shapes import plain_json
from dassl.utils.files import atomic_write

EVERY_S = 300.0


@contextmanager
def rescued(trainer: Any) -> Iterator[None]:
    """Keep the training in the block from being lost, where this process is a job; elsewhere do
    nothing.

    Raises:
        Stopped: the job was asked to stop, and the training has been saved.
    """
    stop = current_stop()
    if stop is None or not hasattr(trainer, "after_epoch"):
        yield
        return
    rescue = Rescue(trainer, stop)
    trainer.after_epoch = rescue.after_epoch
    try:
        yield
    finally:
        del trainer.after_epoch
    rescue.clear()


class Rescue:
    """Saves one trainer.

    Args:
        trainer: with the engine's hooks.
        stop: the job's.
        every_s: seconds between two checkpoints that nobody asked for.
    """

    def __init__(self, trainer: Any, stop: Stop, every_s: float | None = None) -> None:
        self.trainer, self.stop = trainer, stop
        self.every_s = EVERY_S if every_s is None else every_s
        self.saved_at = time.monotonic()
        self.own_after_epoch = trainer.after_epoch
        self.note = Path(trainer.output_dir) / RESCUED

    def after_epoch(self) -> None:
        """In the place of the trainer's hook, which it calls first."""
        self.own_after_epoch()
        done = self.trainer.epoch + 1
        if done >= self.trainer.max_epoch:  # the engine has saved, and little is left to do
            return
        asked = self.stop.asked  # once: a signal may come while the checkpoint is written
        if asked or time.monotonic() - self.saved_at >= self.every_s:
            self.save(done)
        if asked:
            print(f"Stopped after epoch {done} ({', '.join(self.stop.signals)}); saved")
            raise Stopped

    def save(self, done: int) -> None:
        """Write a checkpoint, then remove the one before it."""
        if (frequency := self.trainer.cfg.TRAIN.CHECKPOINT_FREQ) > 0 and done % frequency == 0:
            return  # the engine has just written it
        earlier = self._epochs()
        self._write_note([*earlier, done])
        self.trainer.save_model(self.trainer.epoch, self.trainer.output_dir)
        self._remove(earlier)
        self._write_note([done])
        self.saved_at = time.monotonic()

    def clear(self) -> None:
        """Remove what was saved here, in this process or in one before it."""
        self._remove(self._epochs())
        self.note.unlink(missing_ok=True)

    def _epochs(self) -> list[int]:
        with suppress(OSError, ValueError, TypeError, KeyError):
            return [int(n) for n in plain_json(self.note.read_text(encoding="utf-8"))["epochs"]]
        return []

    def _write_note(self, epochs: list[int]) -> None:
        """Before the checkpoint: a file that nobody notes would stay."""
        with atomic_write(self.note) as handle:
            json.dump({"epochs": epochs}, handle)

    def _remove(self, epochs: list[int]) -> None:
        for name in self.trainer.get_model_names():
            for epoch in epochs:
                path = Path(self.trainer.output_dir, name, f"model.pth.tar-{epoch}")
                path.unlink(missing_ok=True)
