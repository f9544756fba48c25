"""MCD (Saito et al., CVPR 2018), arXiv:1712.02560: two classifiers that must not disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.networks import register_network
from dassl.engine.trainer import SimpleNet, TrainerXU

if TYPE_CHECKING:
    from yacs.config import CfgNode


@TRAINER_REGISTRY.register()
class MCD(TrainerXU):
    """Classifiers drift apart on target images, features bring them together again (steps A-C)."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.n_step_F = cfg.TRAINER.MCD.N_STEP_F

    def build_model(self) -> None:
        self.F = register_network(self, "F", lambda: SimpleNet(self.cfg, self.cfg.MODEL, 0))
        self.C1 = register_network(self, "C1", lambda: nn.Linear(self.F.fdim, self.num_classes))
        self.C2 = register_network(self, "C2", lambda: nn.Linear(self.F.fdim, self.num_classes))

    def label_loss(self, features: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(self.C1(features), label) + F.cross_entropy(self.C2(features), label)

    def discrepancy(self, features: Tensor) -> Tensor:
        """Mean absolute difference of the two classifiers' probabilities."""
        return (F.softmax(self.C1(features), 1) - F.softmax(self.C2(features), 1)).abs().mean()

    def forward_backward(self, batch_x: dict[str, Any], batch_u: dict[str, Any]) -> dict[str, Any]:
        input_x, label_x, input_u = self.parse_batch_train(batch_x, batch_u)

        loss_a = self.label_loss(self.F(input_x), label_x)
        self.model_backward_and_update(loss_a)

        with torch.no_grad():
            features_x, features_u = self.F(input_x), self.F(input_u)
        loss_b = self.label_loss(features_x, label_x) - self.discrepancy(features_u)
        self.model_backward_and_update(loss_b, ["C1", "C2"])

        for _ in range(self.n_step_F):
            loss_c = self.discrepancy(self.F(input_u))
            self.model_backward_and_update(loss_c, "F")

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {
            "loss_step_A": loss_a.detach(),
            "loss_step_B": loss_b.detach(),
            "loss_step_C": loss_c.detach(),
        }

    def model_inference(self, input: Tensor) -> Tensor:
        return self.C1(self.F(input))
