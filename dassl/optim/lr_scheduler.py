"""Learning-rate schedules: single_step, multi_step, cosine, each with an optional warm-up.

All of them step once per epoch (trainers that train by iterations step them per iteration).
"""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, StepLR
from yacs.config import CfgNode

from dassl.errors import UserError
from dassl.utils.checkpoints import load_scheduler_state
from dassl.utils.tools import check_availability

AVAI_SCHEDS = ["single_step", "multi_step", "cosine"]
AVAI_WARMUPS = ["linear", "constant"]


class _BaseWarmupScheduler(LRScheduler):
    """Holds ``successor`` back until ``warmup_epoch`` steps are done, then steps it instead.

    Args:
        optimizer: the successor's too.
        successor: the schedule after the warm-up.
        warmup_epoch: length of the warm-up.
        last_epoch: as torch's.
        verbose: accepted as upstream's, does nothing.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        self.successor = successor
        self.warmup_epoch = warmup_epoch
        super().__init__(optimizer, last_epoch)  # torch dropped ``verbose``

    def get_lr(self) -> list[Any]:
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        if self.last_epoch >= self.warmup_epoch:
            self.successor.step(epoch)
            self._last_lr = self.successor.get_last_lr()
        else:
            super().step(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Plain values only; the successor's state is nested."""
        state = super().state_dict()
        state["successor"] = self.successor.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = {k: v for k, v in state_dict.items() if k not in ("optimizer", "successor")}
        if "successor" in state_dict:
            inner = state_dict["successor"]
            load_scheduler_state(
                self.successor, inner if isinstance(inner, dict) else inner.__dict__
            )
        self.__dict__.update(state)


class ConstantWarmupScheduler(_BaseWarmupScheduler):
    """``cons_lr`` in every group during the warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        cons_lr: float,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        self.cons_lr = cons_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch, verbose)

    def get_lr(self) -> list[Any]:
        if self.last_epoch >= self.warmup_epoch:
            return self.successor.get_last_lr()
        return [self.cons_lr for _ in self.base_lrs]


class LinearWarmupScheduler(_BaseWarmupScheduler):
    """``min_lr`` in the first epoch, then base * epoch / warmup_epoch."""

    def __init__(
        self,
        optimizer: Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        min_lr: float,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        self.min_lr = min_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch, verbose)

    def get_lr(self) -> list[Any]:
        if self.last_epoch >= self.warmup_epoch:
            return self.successor.get_last_lr()
        if self.last_epoch == 0:
            return [self.min_lr for _ in self.base_lrs]
        return [lr * self.last_epoch / self.warmup_epoch for lr in self.base_lrs]


def build_lr_scheduler(optimizer: Optimizer, optim_cfg: CfgNode) -> LRScheduler:
    """The schedule that ``cfg.OPTIM`` asks for, warm-up included.

    Args:
        optimizer: its groups' current learning rates are the base.
        optim_cfg: LR_SCHEDULER, STEPSIZE, GAMMA, MAX_EPOCH, ETA_MIN and WARMUP_*.

    Raises:
        ValueError: an unknown schedule or warm-up type.
        TypeError: STEPSIZE is of the wrong type.
    """
    check_availability(optim_cfg.LR_SCHEDULER, AVAI_SCHEDS)
    scheduler = _main_schedule(optimizer, optim_cfg)
    if optim_cfg.WARMUP_EPOCH <= 0:
        return scheduler
    check_availability(optim_cfg.WARMUP_TYPE, AVAI_WARMUPS)
    if not optim_cfg.WARMUP_RECOUNT:
        scheduler.last_epoch = optim_cfg.WARMUP_EPOCH
    if optim_cfg.WARMUP_TYPE == "constant":
        return ConstantWarmupScheduler(
            optimizer, scheduler, optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_CONS_LR
        )
    return LinearWarmupScheduler(
        optimizer, scheduler, optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_MIN_LR
    )


def _main_schedule(optimizer: Optimizer, optim_cfg: CfgNode) -> LRScheduler:
    stepsize, max_epoch = optim_cfg.STEPSIZE, optim_cfg.MAX_EPOCH
    if optim_cfg.LR_SCHEDULER == "single_step":
        if isinstance(stepsize, (list, tuple)):
            stepsize = stepsize[-1]
        if not isinstance(stepsize, int):
            raise TypeError(
                "OPTIM.STEPSIZE must be an integer for single_step, "
                f"got {stepsize!r} ({type(stepsize).__name__})"
            )
        return StepLR(
            optimizer, step_size=stepsize if stepsize > 0 else max_epoch, gamma=optim_cfg.GAMMA
        )
    if optim_cfg.LR_SCHEDULER == "multi_step":
        if not isinstance(stepsize, (list, tuple)):
            raise TypeError(
                "OPTIM.STEPSIZE must be a list of epochs for multi_step, "
                f"got {stepsize!r} ({type(stepsize).__name__})"
            )
        return MultiStepLR(optimizer, milestones=list(stepsize), gamma=optim_cfg.GAMMA)
    if max_epoch <= 0:
        raise UserError(f"OPTIM.MAX_EPOCH is {max_epoch}; the cosine schedule needs at least 1")
    return CosineAnnealingLR(optimizer, max_epoch, eta_min=optim_cfg.get("ETA_MIN", 0.0))
