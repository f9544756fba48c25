"""MixMatch (Berthelot et al., NeurIPS 2019), arXiv:1905.02249: guessed labels, mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.trainer import TrainerXU
from dassl.errors import UserError
from dassl.modeling.ops import (
    create_onehot,
    linear_rampup,
    mixup,
    sharpen_prob,
    shuffle_index,
)

if TYPE_CHECKING:
    from yacs.config import CfgNode


@TRAINER_REGISTRY.register()
class MixMatch(TrainerXU):
    """Labels guessed from several views; labelled and unlabelled images mixed with each other."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.weight_u = cfg.TRAINER.MIXMATCH.WEIGHT_U
        self.temp = cfg.TRAINER.MIXMATCH.TEMP
        self.beta = cfg.TRAINER.MIXMATCH.MIXUP_BETA
        self.rampup = cfg.TRAINER.MIXMATCH.RAMPUP  # batches

    def check_cfg(self, cfg: CfgNode) -> None:
        if cfg.DATALOADER.K_TRANSFORMS < 2:
            raise UserError("MixMatch needs several views: DATALOADER.K_TRANSFORMS of 2 or more")

    @torch.no_grad()
    def guess_labels(self, views: list[Tensor]) -> Tensor:
        """Mean prediction over the views (B, C), sharpened."""
        mean = torch.stack([F.softmax(self.model(view), 1) for view in views]).mean(0)
        return sharpen_prob(mean, self.temp)

    def forward_backward(self, batch_x: dict[str, Any], batch_u: dict[str, Any]) -> dict[str, Any]:
        input_x, label_x, views_u = self.parse_batch_train(batch_x, batch_u)
        count = len(input_x)
        input_u = torch.cat(views_u)  # every view is mixed, under the label guessed from all
        label_u = self.guess_labels(views_u).repeat(len(views_u), 1)
        others, labels = shuffle_index(torch.cat([input_x, input_u]), torch.cat([label_x, label_u]))
        input_x, label_x = mixup(
            input_x, others[:count], label_x, labels[:count], self.beta, preserve_order=True
        )
        input_u, label_u = mixup(
            input_u, others[count:], label_u, labels[count:], self.beta, preserve_order=True
        )

        output_x = F.softmax(self.model(input_x), 1)
        loss_x = -(label_x * torch.log(output_x + 1e-5)).sum(1).mean()
        loss_u = (F.softmax(self.model(input_u), 1) - label_u).square().mean()
        step = self.batch_idx + self.epoch * self.num_batches
        weight = self.weight_u * linear_rampup(step, self.rampup)
        self.model_backward_and_update(loss_x + loss_u * weight)

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss_x": loss_x.detach(), "loss_u": loss_u.detach()}

    def parse_batch_train(
        self, batch_x: dict[str, Any], batch_u: dict[str, Any]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """One view and one-hot labels of labelled images, all views of the others."""
        onehot = create_onehot(batch_x["label"], self.num_classes)
        views = [self._to_device(view) for view in batch_u["img"]]
        return self._to_device(batch_x["img"][0]), self._to_device(onehot), views
