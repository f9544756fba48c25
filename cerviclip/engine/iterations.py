"""Training for a number of batches instead of a number of epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from dassl.optim import build_lr_scheduler

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from dassl.engine.trainer import TrainerX as Base
else:
    Base = object  # a mixin: TrainerX comes from the class it is mixed into


def build_iteration_scheduler(optim: Any, optim_cfg: CfgNode, max_iters: int) -> Any:
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
    if cfg.TRAIN.MAX_ITERS > 0:
        return cfg.TRAIN.MAX_ITERS
    return per_shot * count_as_shots(cfg, dataset)


class ByIterations(Base):
    """Mixin before ``TrainerX``: training ends after exactly ``self.max_iters`` batches.

    An epoch is one pass over the loader, the last one cut short, and the schedulers step after each
    batch; the ``update_lr()`` that a trainer's ``forward_backward`` calls in an epoch's last batch
    is then without effect.
    """

    def count_iterations(self) -> int:
        """Hook: how many batches to train on, 0 to train by epochs as usual. Asked once, when
        training begins; data set and loaders are there."""
        return 0

    @cached_property
    def max_iters(self) -> int:
        """What ``count_iterations`` says."""
        return self.count_iterations()

    def train(self) -> None:
        if self.max_iters > 0:
            self.max_epoch = max(1, math.ceil(self.max_iters / super().count_batches()))
        super().train()

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
            super().update_lr()

    def update_lr(self, names: str | Sequence[str] | None = None) -> None:
        if self.max_iters <= 0:
            super().update_lr(names)
