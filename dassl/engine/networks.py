"""Registering the several networks of a method one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from dassl.utils import count_num_param

from .trainer import SimpleTrainer

Network = TypeVar("Network", bound=nn.Module)


def register_network(
    trainer: SimpleTrainer, name: str, make: Callable[[], Network], title: str = ""
) -> Network:
    """Make a network on the trainer's device, announce it, and register it as a learner.

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
    optim, sched = trainer.register_learner(name, network)
    setattr(trainer, f"optim_{name}", optim)
    setattr(trainer, f"sched_{name}", sched)
    return network
