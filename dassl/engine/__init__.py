"""Trainers: the base classes, and upstream's methods for DA, DG and SSL, registered on import."""

from .build import TRAINER_REGISTRY, build_trainer
from .trainer import SimpleNet, SimpleTrainer, TrainerBase, TrainerX, TrainerXU

from . import da, dg, ssl  # isort: skip

__all__ = [
    "TRAINER_REGISTRY",
    "SimpleNet",
    "SimpleTrainer",
    "TrainerBase",
    "TrainerX",
    "TrainerXU",
    "build_trainer",
    "da",
    "dg",
    "ssl",
]
