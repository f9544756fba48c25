"""Registering the several networks of a method one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from torch import nn

from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import count_num_param

if TYPE_CHECKING:
    from .trainer import SimpleTrainer

Network = TypeVar("Network", bound=nn.Module)


def register_network(
    trainer: SimpleTrainer, name: str, make: Callable[[], Network], title: str = ""
) -> Network:
    """Make a network and register it with ``cfg.OPTIM``'s optimiser, on the trainer's device.

    Sets upstream's attributes beside it: ``optim_<name>`` and ``sched_<name>``.

    Args:
        trainer: whose model it becomes.
        name: in checkpoints.
        make: makes the network, after the line that announces it.
        title: for that line; ``name`` if empty.
    """
    print(f"Building {title or name}")
    network = make()
    network.to(trainer.device)
    print(f"# params: {count_num_param(network):,}")
    optim = build_optimizer(network, trainer.cfg.OPTIM)
    sched = build_lr_scheduler(optim, trainer.cfg.OPTIM)
    setattr(trainer, f"optim_{name}", optim)
    setattr(trainer, f"sched_{name}", sched)
    trainer.register_model(name, network, optim, sched)
    return network
