"""CrossGrad (Shankar et al., ICLR 2018), arXiv:1804.10745: images moved along gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.networks import register_network
from dassl.engine.trainer import SimpleNet, TrainerX

if TYPE_CHECKING:
    from yacs.config import CfgNode


def loss_gradient(network: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Gradient of the cross-entropy with respect to the images, clamped to +-0.1 a pixel."""
    x = x.detach().requires_grad_()
    loss = F.cross_entropy(network(x), target)
    return torch.autograd.grad(loss, x)[0].clamp(-0.1, 0.1)


@TRAINER_REGISTRY.register()
class CrossGrad(TrainerX):
    """The label network sees images moved along the domain loss, the domain network the reverse."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.eps_f = cfg.TRAINER.CROSSGRAD.EPS_F
        self.eps_d = cfg.TRAINER.CROSSGRAD.EPS_D
        self.alpha_f = cfg.TRAINER.CROSSGRAD.ALPHA_F
        self.alpha_d = cfg.TRAINER.CROSSGRAD.ALPHA_D

    def build_model(self) -> None:
        cfg = self.cfg
        self.F = register_network(self, "F", lambda: SimpleNet(cfg, cfg.MODEL, self.num_classes))
        self.D = register_network(
            self, "D", lambda: SimpleNet(cfg, cfg.MODEL, self.num_source_domains)
        )

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Any]:
        input, label, domain = self.parse_batch_train(batch)
        input_d = input + self.eps_f * loss_gradient(self.D, input, domain)
        input_f = input + self.eps_d * loss_gradient(self.F, input, label)

        loss_f = (1 - self.alpha_f) * F.cross_entropy(self.F(input), label)
        loss_f = loss_f + self.alpha_f * F.cross_entropy(self.F(input_d), label)
        self.model_backward_and_update(loss_f, "F")

        loss_d = (1 - self.alpha_d) * F.cross_entropy(self.D(input), domain)
        loss_d = loss_d + self.alpha_d * F.cross_entropy(self.D(input_f), domain)
        self.model_backward_and_update(loss_d, "D")

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss_f": loss_f.detach(), "loss_d": loss_d.detach()}

    def model_inference(self, input: Tensor) -> Tensor:
        return self.F(input)
