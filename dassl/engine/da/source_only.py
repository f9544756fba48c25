"""SourceOnly: what adaptation is measured against; the target's images are not looked at."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.trainer import TrainerXU
from dassl.metrics import compute_accuracy


@TRAINER_REGISTRY.register()
class SourceOnly(TrainerXU):
    """Cross-entropy on labelled source images."""

    def forward_backward(self, batch_x: dict[str, Any], batch_u: dict[str, Any]) -> dict[str, Any]:
        input, label = self.parse_batch_train(batch_x, batch_u)
        output = self.model(input)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.detach(), "acc": compute_accuracy(output, label)[0]}

    def parse_batch_train(  # type: ignore[override]
        self, batch_x: dict[str, Any], batch_u: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        return self._to_device(batch_x["img"]), self._to_device(batch_x["label"])
