"""EntMin (Grandvalet and Bengio, NeurIPS 2004): sure predictions on unlabelled images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.trainer import TrainerXU
from dassl.metrics import compute_accuracy
from dassl.modeling.ops import entropy

if TYPE_CHECKING:
    from yacs.config import CfgNode


@TRAINER_REGISTRY.register()
class EntMin(TrainerXU):
    """Cross-entropy on labelled plus entropy on unlabelled images."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.lmda = cfg.TRAINER.ENTMIN.LMDA

    def forward_backward(self, batch_x: dict[str, Any], batch_u: dict[str, Any]) -> dict[str, Any]:
        input_x, label_x, input_u = self.parse_batch_train(batch_x, batch_u)
        output_x = self.model(input_x)
        loss_x = F.cross_entropy(output_x, label_x)
        loss_u = entropy(F.softmax(self.model(input_u), 1)).mean()
        self.model_backward_and_update(loss_x + loss_u * self.lmda)

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {
            "loss_x": loss_x.detach(),
            "acc_x": compute_accuracy(output_x, label_x)[0],
            "loss_u": loss_u.detach(),
        }
