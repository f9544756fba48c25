"""What is left of a run whose loss became infinite: the last good state, and what to try."""

from __future__ import annotations

import os.path as osp

import torch
from torch import Tensor

from .loss_watch import Place
from .protocol import Trains

LAST_GOOD_MODEL = "model-last-good.pth.tar"


class LastGoodState:
    """A copy of the learnable weights and buffers at the start of an epoch.

    A non-finite loss is usually seen one step after the weights broke, so the weights at that time
    may be worth nothing.
    """

    def __init__(self, trainer: Trains) -> None:
        self.trainer = trainer
        self._copies = [(t, t.detach().clone()) for t in self._tensors(buffers=True)]

    def _tensors(self, buffers: bool) -> list[Tensor]:
        found: list[Tensor] = []
        for name, model in self.trainer._models.items():
            averaged = name in self.trainer._averaged
            trained = self.trainer._optims[name] is not None or averaged
            if not trained or not isinstance(model, torch.nn.Module):
                continue
            found += [p for p in model.parameters() if p.requires_grad or averaged]
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
    def save(self, go_back: bool = False) -> str:
        """Write the weights as they are if finite, else those of the epoch's start.

        Args:
            go_back: take those of the epoch's start in any case.

        Returns:
            The folder written to; empty if nothing could be written.
        """
        trainer = self.trainer
        if not trainer.output_dir or not trainer._models:
            return ""
        if go_back or not self.weights_finite():
            self._restore()
        try:
            trainer.save_model(trainer.epoch - 1, trainer.output_dir, model_name=LAST_GOOD_MODEL)
        except Exception as error:  # a trainer's own save_model; the loss is the news, not this
            print(f"The last good state could not be saved: {error}")
            return ""
        return osp.join(trainer.output_dir, next(iter(trainer._models)), LAST_GOOD_MODEL)

    def _restore(self) -> None:
        for tensor, copy in self._copies:
            tensor.copy_(copy)
        for optim in self.trainer._optims.values():
            # Its moments are as broken, and would break a run that goes on from here.
            getattr(optim, "state", {}).clear()


def advice(trainer: Trains, saved: str, since: Place | None = None) -> str:
    """Where a run broke and what to try, in one line.

    Args:
        trainer: stopped.
        saved: the file of the last good state, if any.
        since: where it broke, if that was seen only now.
    """
    batch, lr = getattr(trainer, "batch_idx", None), trainer.get_current_lr()
    where, seen = f"epoch {trainer.epoch + 1}", ""
    if since is not None:
        if since.batch_idx is not None and batch is not None and batch > since.batch_idx:
            seen = f", seen at batch {batch + 1}"
        batch, lr = since
    if batch is not None:
        where += f", batch {batch + 1}{seen}"
    where += f", lr {lr:.4e}"
    text = (
        f"({where}) Try a lower OPTIM.LR, a warm-up (OPTIM.WARMUP_EPOCH), PREC fp32 or amp instead "
        "of fp16, or OPTIM.ADAM_EPS 1e-4 if the weights must be fp16."
    )
    return f"{text} The last good state is in {saved}." if saved else text
