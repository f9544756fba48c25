"""A head that is trained on stored features of the frozen tower, before the tower adapts.

Fine-tuning that starts from an untrained head bends the features towards it, at the cost of data
from elsewhere; from a head that fits already it has little to bend (LP-FT: Kumar et al., ICLR 2022,
arXiv:2202.10054). The tower is run once per stored view, so thousands of steps of the head cost
what some dozens of the tower do. Nothing here knows whose head it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cerviclip.engine.iterations import build_iteration_scheduler
from dassl.optim import build_optimizer

if TYPE_CHECKING:
    from yacs.config import CfgNode

_PRINTED = 4  # lines of the log


def random_batches(
    count: int, views: int, size: int, steps: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers of different images (B,) and of one view of each (B,), drawn from ``seed`` alone."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        index = torch.randperm(count, generator=generator)[:size]
        yield index, torch.randint(views, index.shape, generator=generator)


def head_optim_cfg(optim_cfg: CfgNode, lr: float) -> CfgNode:
    """``cfg.OPTIM`` with another rate, cosine and without warm-up: its counts are of another
    stage's iterations."""
    optim_cfg = optim_cfg.clone()
    optim_cfg.defrost()
    optim_cfg.LR, optim_cfg.LR_SCHEDULER, optim_cfg.WARMUP_EPOCH = lr, "cosine", -1
    return optim_cfg


def train_head(
    head: nn.Module,
    optim_cfg: CfgNode,
    steps: int,
    batches: Iterator[Any],
    loss_of: Callable[..., Tensor],
    lr_key: str = "OPTIM.LR",
) -> None:
    """Minimise ``loss_of(*batch)`` over a head's parameters in ``steps`` steps.

    Args:
        head: what learns.
        optim_cfg: optimiser and schedule, as ``head_optim_cfg`` gives.
        steps: length of ``batches`` and of the schedule.
        batches: arguments of ``loss_of``, one tuple a step.
        loss_of: the loss (scalar) of a batch.
        lr_key: config key of the rate, for the message.

    Raises:
        FloatingPointError: loss or weights are not finite; looked at where a line is printed, so
            that no other step waits for the device.
    """
    optim = build_optimizer(head, optim_cfg)
    sched = build_iteration_scheduler(optim, optim_cfg, steps)
    for step, batch in enumerate(batches, start=1):
        loss = loss_of(*batch)
        optim.zero_grad()
        loss.backward()
        optim.step()
        sched.step()
        if step % max(1, steps // _PRINTED) == 0 or step == steps:
            finite = all(torch.isfinite(p).all() for p in head.parameters())
            if not (finite and torch.isfinite(loss)):
                raise FloatingPointError(
                    f"the head alone: loss {loss.item()} at step {step}/{steps}; "
                    f"lower {lr_key}, now {optim_cfg.LR}"
                )
            print(f"head alone [{step}/{steps}] loss {loss.item():.4f}", flush=True)
