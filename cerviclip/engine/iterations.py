"""Training for a number of batches instead of a number of epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cerviclip.engine.supervised import LearnersInTurn
from dassl.optim import build_lr_scheduler

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from dassl.engine.trainer import TrainerX as Base
else:
    Base = object  # a mixin: TrainerX comes from the class it is mixed into


def build_iteration_scheduler(optim: Optimizer, optim_cfg: CfgNode, max_iters: int) -> LRScheduler:
    """The config's schedule with iterations in the place of epochs."""
    optim_cfg = optim_cfg.clone()
    optim_cfg.defrost()
    optim_cfg.MAX_EPOCH = max_iters
    return build_lr_scheduler(optim, optim_cfg)


# The most shots that a full training set counts as: the papers' largest few-shot setting.
_FULL_AS_SHOTS = 32


def count_as_shots(cfg: CfgNode, dataset: Any) -> int:
    """The shots; for a full training set its mean number of images per class, at most 32."""
    if cfg.DATASET.NUM_SHOTS >= 1:
        return cfg.DATASET.NUM_SHOTS
    mean = math.ceil(len(dataset.train_x) / max(1, dataset.num_classes))
    return min(mean, _FULL_AS_SHOTS)


def iterations_per_shot(cfg: CfgNode, dataset: Any, per_shot: int) -> int:
    """``TRAIN.MAX_ITERS`` where it is set, else ``per_shot`` times what `count_as_shots` gives."""
    return max_iters_or(cfg, per_shot * count_as_shots(cfg, dataset))


def max_iters_or(cfg: CfgNode, iterations: int) -> int:
    """``TRAIN.MAX_ITERS`` where it is set, else ``iterations``."""
    return cfg.TRAIN.MAX_ITERS if cfg.TRAIN.MAX_ITERS > 0 else iterations


def keys_in_iterations(optim_cfg: CfgNode) -> list[str]:
    """The keys of a schedule by iterations that upstream counts in epochs, where they matter."""
    keys = []
    if optim_cfg.WARMUP_EPOCH > 0:
        keys.append(f"OPTIM.WARMUP_EPOCH {optim_cfg.WARMUP_EPOCH}")
    if optim_cfg.LR_SCHEDULER in ("single_step", "multi_step"):
        sizes = optim_cfg.STEPSIZE
        if any(size > 0 for size in (sizes if isinstance(sizes, (list, tuple)) else [sizes])):
            keys.append(f"OPTIM.STEPSIZE {sizes}")
    return keys


class ByIterations(LearnersInTurn, Base):
    """Mixin before ``TrainerX``: training ends after exactly ``self.max_iters`` batches.

    An epoch is one pass over the loader, the last one cut short. The schedulers step after each
    batch, those of ``learning_now`` alone. The ``update_lr()`` that a trainer's
    ``forward_backward`` calls in an epoch's last batch is then without effect.
    """

    def count_iterations(self) -> int:
        """Hook: how many batches to train on, 0 to train by epochs as usual. Asked once, when
        training begins; data set and loaders are there."""
        return 0

    @cached_property
    def max_iters(self) -> int:
        """What ``count_iterations`` says."""
        return self.count_iterations()

    @property
    def iterations_done(self) -> int:
        """Batches before the one at hand, those of a run that was resumed included."""
        return self.epoch * super().count_batches() + self.batch_idx

    def train(self) -> None:
        if self.max_iters > 0:
            self.max_epoch = max(1, math.ceil(self.max_iters / super().count_batches()))
            print(
                f"Training takes {self.max_iters} iterations (TRAIN.MAX_ITERS, or a key of the "
                f"trainer's); OPTIM.MAX_EPOCH {self.cfg.OPTIM.MAX_EPOCH} is not read"
            )
            if keys := keys_in_iterations(self.cfg.OPTIM):
                count = "counts" if len(keys) == 1 else "count"
                print(
                    f"Training takes {self.max_iters} iterations: {' and '.join(keys)} {count} "
                    "iterations, not epochs"
                )
        super().train()

    def build_schedule(self, optim: Optimizer) -> LRScheduler:
        if self.max_iters > 0:
            return build_iteration_scheduler(optim, self.cfg.OPTIM, self.max_iters)
        return super().build_schedule(optim)

    def count_batches(self) -> int:
        whole = super().count_batches()
        if self.max_iters <= 0:
            return whole
        return min(whole, self.max_iters - self.epoch * whole)

    def train_batches(self) -> Iterable[Any]:
        loader = super().train_batches()
        return islice(loader, self.num_batches) if self.max_iters > 0 else loader

    def after_batch(self) -> None:
        super().after_batch()
        if self.max_iters > 0:
            super().update_lr(self.learning_now())

    def update_lr(self, names: str | Sequence[str] | None = None) -> None:
        if self.max_iters <= 0:
            super().update_lr(names)
