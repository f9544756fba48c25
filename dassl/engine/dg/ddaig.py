"""DDAIG (Zhou et al., AAAI 2020), arXiv:2003.06054: images moved out of their domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.networks import register_network
from dassl.engine.trainer import SimpleNet, TrainerX
from dassl.errors import UserError
from dassl.modeling import NETWORK_REGISTRY, build_network

if TYPE_CHECKING:
    from yacs.config import CfgNode


@TRAINER_REGISTRY.register()
class DDAIG(TrainerX):
    """Three networks: G perturbs so that F still knows the class and D no longer the domain."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        section = cfg.TRAINER.DDAIG
        self.lmda = section.LMDA
        self.clamp = section.CLAMP
        self.clamp_min = section.CLAMP_MIN
        self.clamp_max = section.CLAMP_MAX
        self.warmup = section.WARMUP
        self.alpha = section.ALPHA

    def check_cfg(self, cfg: CfgNode) -> None:
        if cfg.TRAINER.DDAIG.G_ARCH not in NETWORK_REGISTRY:
            known = ", ".join(sorted(NETWORK_REGISTRY.registered_names()))
            raise UserError(
                f'TRAINER.DDAIG.G_ARCH is "{cfg.TRAINER.DDAIG.G_ARCH}"; it takes one of {known}'
            )

    def build_model(self) -> None:
        cfg = self.cfg
        self.F = register_network(self, "F", lambda: SimpleNet(cfg, cfg.MODEL, self.num_classes))
        self.D = register_network(
            self, "D", lambda: SimpleNet(cfg, cfg.MODEL, self.num_source_domains)
        )
        arch, side = cfg.TRAINER.DDAIG.G_ARCH, cfg.INPUT.SIZE[0]
        self.G = register_network(
            self, "G", lambda: build_network(arch, verbose=cfg.VERBOSE, image_size=side)
        )

    def perturb(self, input: Tensor) -> Tensor:
        perturbed = self.G(input, lmda=self.lmda)
        return perturbed.clamp(self.clamp_min, self.clamp_max) if self.clamp else perturbed

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Any]:
        input, label, domain = self.parse_batch_train(batch)

        moved = self.perturb(input)
        loss_g = F.cross_entropy(self.F(moved), label) - F.cross_entropy(self.D(moved), domain)
        self.model_backward_and_update(loss_g, "G")

        with torch.no_grad():
            moved = self.perturb(input)  # by the generator as it is now
        loss_f = F.cross_entropy(self.F(input), label)
        if self.epoch + 1 > self.warmup:
            loss_moved = F.cross_entropy(self.F(moved), label)
            loss_f = (1 - self.alpha) * loss_f + self.alpha * loss_moved
        self.model_backward_and_update(loss_f, "F")

        loss_d = F.cross_entropy(self.D(input), domain)
        self.model_backward_and_update(loss_d, "D")

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss_g": loss_g.detach(), "loss_f": loss_f.detach(), "loss_d": loss_d.detach()}

    def model_inference(self, input: Tensor) -> Tensor:
        return self.F(input)
