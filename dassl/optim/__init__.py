"""Optimisers and learning-rate schedules by their names in the config."""

from dassl.optim.lr_scheduler import build_lr_scheduler
from dassl.optim.optimizer import build_optimizer

__all__ = ["build_lr_scheduler", "build_optimizer"]
