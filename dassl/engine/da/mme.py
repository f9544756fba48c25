"""MME (Saito et al., ICCV 2019), arXiv:1904.06487: minimax entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.networks import register_network
from dassl.engine.trainer import SimpleNet, TrainerXU
from dassl.metrics import compute_accuracy
from dassl.modeling.ops import ReverseGrad, entropy

if TYPE_CHECKING:
    from yacs.config import CfgNode


class Prototypes(nn.Module):
    """Products of L2-normalised features with one weight vector per class.

    Args:
        fdim: width of the features.
        num_classes: C.
        temp: divides the logits.
    """

    def __init__(self, fdim: int, num_classes: int, temp: float = 0.05) -> None:
        super().__init__()
        self.prototypes = nn.Linear(fdim, num_classes, bias=False)
        self.temp = temp

    def forward(self, x: Tensor) -> Tensor:
        return self.prototypes(F.normalize(x, dim=1)) / self.temp


@TRAINER_REGISTRY.register()
class MME(TrainerXU):
    """Minimax entropy: a reversed gradient between prototypes and features."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.lmda = cfg.TRAINER.MME.LMDA

    def build_model(self) -> None:
        self.F = register_network(self, "F", lambda: SimpleNet(self.cfg, self.cfg.MODEL, 0))
        self.C = register_network(self, "C", lambda: Prototypes(self.F.fdim, self.num_classes))
        self.revgrad = ReverseGrad()

    def forward_backward(self, batch_x: dict[str, Any], batch_u: dict[str, Any]) -> dict[str, Any]:
        input_x, label_x, input_u = self.parse_batch_train(batch_x, batch_u)
        logit_x = self.C(self.F(input_x))
        loss_x = F.cross_entropy(logit_x, label_x)
        self.model_backward_and_update(loss_x)

        logit_u = self.C(self.revgrad(self.F(input_u)))
        loss_u = -entropy(F.softmax(logit_u, 1)).mean()
        self.model_backward_and_update(loss_u * self.lmda)

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {
            "loss_x": loss_x.detach(),
            "acc_x": compute_accuracy(logit_x.detach(), label_x)[0],
            "loss_u": loss_u.detach(),
        }

    def model_inference(self, input: Tensor) -> Tensor:
        return self.C(self.F(input))
