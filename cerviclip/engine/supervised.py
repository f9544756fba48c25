"""One training step on labelled images, for methods that differ in their loss alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from dassl.errors import UserError


class LearnersInTurn:
    """Mixin: not every batch updates every learner."""

    def learning_now(self) -> Sequence[str] | None:
        """Hook: names of the learners that step in the batch at hand, None for all."""
        return None


class SupervisedStep(LearnersInTurn):
    """Mixin before a trainer class: a step is one loss and one update of all registered models.

    The loss is cross-entropy of ``model_inference`` unless ``loss_and_logits`` says otherwise.
    Autocast belongs around the towers, within these two: logits and losses are float32.

    Several processes may share the batches (torchrun), each with a loss of its own images: the loss
    is a mean over images, and terms without images count as they are. A loss that compares images
    takes their rows from ``dassl.utils.batch_share.whole_batch``, and what is drawn for each image
    in a step comes from ``draw_rows``.
    """

    many_processes = True

    def prepare_training(self) -> None:
        """Also holds that something learns.

        Raises:
            UserError: no module was given to ``register_learner``.
        """
        super().prepare_training()  # type: ignore[misc]
        if not any(self._optims.values()):  # type: ignore[attr-defined]
            raise UserError(
                f"{type(self).__name__} trains by steps, but none of its modules learns: give what "
                "learns to register_learner in build_model (register_model keeps a module as it is)"
            )

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Any, Tensor]:
        return self.parse_batch_test(batch)

    def loss_and_logits(self, input: Any, label: Tensor) -> tuple[Tensor, Tensor]:
        """The loss (scalar) and the logits (B, C) of a training batch."""
        logits = self.model_inference(input)
        return F.cross_entropy(logits, label), logits

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        input, label = self.parse_batch_train(batch)
        loss, logits = self.loss_and_logits(input, label)
        self.model_backward_and_update(loss, self.learning_now())
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        accuracy = (logits.detach().argmax(dim=-1) == label).float().mean() * 100
        return {"loss": loss.detach(), "acc": accuracy}
