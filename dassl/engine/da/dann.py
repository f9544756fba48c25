"""DANN (Ganin et al., JMLR 2016), arXiv:1505.07818: features that hide their domain."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.networks import register_network
from dassl.engine.trainer import TrainerXU
from dassl.metrics import compute_accuracy
from dassl.modeling import build_head
from dassl.modeling.ops import ReverseGrad

if TYPE_CHECKING:
    from yacs.config import CfgNode


@TRAINER_REGISTRY.register()
class DANN(TrainerXU):
    """Domain-adversarial training: a critic of domains behind a reversed gradient."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.build_critic()

    def build_critic(self) -> None:
        """Two hidden layers of the features' width, then one logit; registered as ``critic``."""
        width = self.model.fdim

        def make() -> nn.Module:
            body = build_head(
                "mlp",
                verbose=self.cfg.VERBOSE,
                in_features=width,
                hidden_layers=[width, width],
                activation="leaky_relu",
            )
            return nn.Sequential(body, nn.Linear(width, 1))

        self.critic = register_network(self, "critic", make, title="critic network")
        self.optim_c, self.sched_c = self._optims["critic"], self._scheds["critic"]  # upstream's
        self.revgrad = ReverseGrad()

    def forward_backward(self, batch_x: dict[str, Any], batch_u: dict[str, Any]) -> dict[str, Any]:
        input_x, label_x, input_u = self.parse_batch_train(batch_x, batch_u)
        step = self.batch_idx + self.epoch * self.num_batches
        progress = step / (self.max_epoch * self.num_batches)
        strength = 2 / (1 + math.exp(-10 * progress)) - 1  # from 0 to 1, section 5.2.2

        logit_x, feat_x = self.model(input_x, return_feature=True)
        _, feat_u = self.model(input_u, return_feature=True)
        loss_x = F.cross_entropy(logit_x, label_x)

        domain_x = self.critic(self.revgrad(feat_x, grad_scaling=strength))
        domain_u = self.critic(self.revgrad(feat_u, grad_scaling=strength))
        loss_d = F.binary_cross_entropy_with_logits(domain_x, torch.ones_like(domain_x))
        loss_d = loss_d + F.binary_cross_entropy_with_logits(domain_u, torch.zeros_like(domain_u))
        self.model_backward_and_update(loss_x + loss_d)

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {
            "loss_x": loss_x.detach(),
            "acc_x": compute_accuracy(logit_x.detach(), label_x)[0],
            "loss_d": loss_d.detach(),
        }
