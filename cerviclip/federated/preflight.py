"""What a federation asks of a method and its training, before anything is trained."""

from __future__ import annotations

import math
from typing import Any

from cerviclip.engine.fit_once import FitOnce
from cerviclip.federated.weights import check_no_image_features
from dassl.errors import UserError

_OTHERS = "take a method that is trained over epochs, such as CoOp, ClipAdapter or CLIPLoRA"


def check_trainer(trainer: Any, rounds: int, mu: float) -> None:
    """Refuse a training that cannot be cut into rounds, or whose weights may not leave a centre.

    Args:
        trainer: built, not yet trained.
        rounds: of the federation.
        mu: of FedProx.

    Raises:
        UserError: it is one of these.
    """
    name, epochs = trainer.cfg.TRAINER.NAME, epochs_of(trainer)
    check_no_image_features(trainer)
    if epochs < 1:
        raise UserError(f"{name} trains nothing, so a federation has nothing to average; {_OTHERS}")
    if rounds > epochs and isinstance(trainer, FitOnce):
        raise UserError(
            f"{name} is fitted in one step and has no weights to average in {rounds} rounds; "
            f"{_OTHERS} (with rounds: 1 it is fitted at each centre and averaged once)"
        )
    if rounds > epochs:
        raise UserError(
            f"{rounds} rounds are more than the {epochs} epochs of this centre's training; give "
            "fewer rounds or more epochs or iterations"
        )
    if mu > 0 and getattr(getattr(trainer, "precision", None), "scaler", None) is not None:
        raise UserError("fedprox does not work with PREC amp; take fp32 or bf16")


def epochs_of(trainer: Any) -> int:
    """How many epochs a training will have, which some count by iterations."""
    iterations = int(getattr(trainer, "max_iters", 0) or 0)
    if iterations > 0:
        return max(1, math.ceil(iterations / max(1, len(trainer.train_loader_x))))
    return int(trainer.max_epoch)
