"""What is left of a run whose loss became infinite: the last good state, and what to try."""

from __future__ import annotations

import os.path as osp
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .trainer_base import TrainerBase

LAST_GOOD_MODEL = "model-last-good.pth.tar"


class LastGoodState:
    """A copy of the learnable weights and buffers at the start of an epoch.

    A non-finite loss is usually seen one step after the weights broke, so the weights at that time
    may be worth nothing.
    """

    def __init__(self, trainer: TrainerBase) -> None:
        self.trainer = trainer
        self._copies = [(t, t.detach().clone()) for t in self._tensors(buffers=True)]

    def _tensors(self, buffers: bool) -> list[Tensor]:
        found: list[Tensor] = []
        for name, model in self.trainer._models.items():
            if self.trainer._optims[name] is None or not isinstance(model, torch.nn.Module):
                continue
            found += [p for p in model.parameters() if p.requires_grad]
            if buffers:
                found += list(model.buffers())
        return found

    @torch.no_grad()
    def weights_finite(self) -> bool:
        zeros: dict[torch.device, list[Tensor]] = {}
        for weight in self._tensors(buffers=False):
            # The sum of finite weights can overflow, that of as many zeros cannot.
            zeros.setdefault(weight.device, []).append((weight * 0).sum().float())
        return not any(bool(torch.stack(sums).isnan().any()) for sums in zeros.values())

    @torch.no_grad()
    def save(self) -> str:
        """Write the weights as they are if finite, else those of the epoch's start.

        Returns:
            The folder written to; empty if nothing could be written.
        """
        trainer = self.trainer
        if not trainer.output_dir or not trainer._models:
            return ""
        if not self.weights_finite():
            for tensor, copy in self._copies:
                tensor.copy_(copy)
        try:
            trainer.save_model(trainer.epoch - 1, trainer.output_dir, model_name=LAST_GOOD_MODEL)
        except Exception as error:  # a trainer's own save_model; the loss is the news, not this
            print(f"The last good state could not be saved: {error}")
            return ""
        return osp.join(trainer.output_dir, next(iter(trainer._models)), LAST_GOOD_MODEL)


def advice(trainer: TrainerBase, saved: str) -> str:
    """Where a run broke and what to try, in one line."""
    where = f"epoch {trainer.epoch + 1}"
    if (batch := getattr(trainer, "batch_idx", None)) is not None:
        where += f", batch {batch + 1}"
    where += f", lr {trainer.get_current_lr():.4e}"
    text = (
        f"({where}) Try a lower OPTIM.LR, a warm-up (OPTIM.WARMUP_EPOCH), PREC fp32 or amp instead "
        "of fp16, or OPTIM.ADAM_EPS 1e-4 if the weights must be fp16."
    )
    return f"{text} The last good state is in {saved}." if saved else text
