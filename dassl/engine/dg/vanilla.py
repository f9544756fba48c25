"""Vanilla: cross-entropy on all source domains together (empirical risk minimisation)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.trainer import TrainerX
from dassl.metrics import compute_accuracy


@TRAINER_REGISTRY.register()
class Vanilla(TrainerX):
    """Vanilla baseline: one classifier on all source domains, no word of domains."""

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Any]:
        input, label = self.parse_batch_train(batch)
        output = self.model(input)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.detach(), "acc": compute_accuracy(output, label)[0]}

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return self._to_device(batch["img"]), self._to_device(batch["label"])
