"""One training step on labelled images, for methods that differ in their loss alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from cerviclip.engine.iterations import build_iteration_scheduler
from dassl.optim import build_lr_scheduler, build_optimizer

if TYPE_CHECKING:
    from dassl.engine.trainer import TrainerX as Base
else:
    Base = object  # a mixin: TrainerX comes from the class it is mixed into


class SupervisedStep(Base):
    """Mixin before a trainer class: a step is one loss and one update of all registered models.

    The loss is cross-entropy of ``model_inference`` unless ``loss_and_logits`` says otherwise.
    Autocast belongs around the towers, within these two: logits and losses are float32.
    """

    def register_learner(self, name: str, model: nn.Module) -> None:
        """Register a model that learns by the optimiser and the schedule of ``cfg.OPTIM``.

        Both are made when training begins, after ``prepare_fit``: they need the parameters as they
        are then and, with ``ByIterations``, the number of iterations.
        """
        self.register_model(name, model)
        self.__dict__.setdefault("_learners", []).append(name)

    def prepare_training(self) -> None:
        super().prepare_training()
        iterations = getattr(self, "max_iters", 0)
        for name in self.__dict__.get("_learners", ()):
            if self._optims[name] is None:
                optim = self._optims[name] = build_optimizer(self._models[name], self.cfg.OPTIM)
                if iterations > 0:
                    sched = build_iteration_scheduler(optim, self.cfg.OPTIM, iterations)
                else:
                    sched = build_lr_scheduler(optim, self.cfg.OPTIM)
                self._scheds[name] = sched

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Any, Tensor]:
        return self.parse_batch_test(batch)

    def loss_and_logits(self, input: Any, label: Tensor) -> tuple[Tensor, Tensor]:
        """The loss (scalar) and the logits (B, C) of a training batch."""
        logits = self.model_inference(input)
        return F.cross_entropy(logits, label), logits

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        input, label = self.parse_batch_train(batch)
        loss, logits = self.loss_and_logits(input, label)
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        accuracy = (logits.detach().argmax(dim=-1) == label).float().mean() * 100
        return {"loss": loss.detach(), "acc": accuracy}
