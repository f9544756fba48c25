"""FixMatch (Sohn et al., NeurIPS 2020), arXiv:2001.07685: weak views label strong ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dassl.data import DataManager
from dassl.data.transforms import build_transform
from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.trainer import TrainerXU
from dassl.errors import UserError
from dassl.metrics import compute_accuracy

if TYPE_CHECKING:
    from yacs.config import CfgNode


@TRAINER_REGISTRY.register()
class FixMatch(TrainerXU):
    """Consistency with confidence: cross-entropy of strong views with sure labels of weak views."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.weight_u = cfg.TRAINER.FIXMATCH.WEIGHT_U
        self.conf_thre = cfg.TRAINER.FIXMATCH.CONF_THRE

    def check_cfg(self, cfg: CfgNode) -> None:
        if not cfg.TRAINER.FIXMATCH.STRONG_TRANSFORMS:
            raise UserError(
                "TRAINER.FIXMATCH.STRONG_TRANSFORMS is empty: name transforms for the strong view, "
                "such as [random_flip, randaugment_fixmatch, normalize]"
            )

    def make_data_manager(self) -> DataManager:
        """With two views of each image: ``img`` weak, ``img2`` strong."""
        strong = self.cfg.TRAINER.FIXMATCH.STRONG_TRANSFORMS
        weak_view = build_transform(self.cfg, is_train=True)
        strong_view = build_transform(self.cfg, is_train=True, choices=strong)
        return DataManager(self.cfg, custom_tfm_train=[weak_view, strong_view])

    def forward_backward(self, batch_x: dict[str, Any], batch_u: dict[str, Any]) -> dict[str, Any]:
        input_x, input_x2, label_x, input_u, input_u2, label_u = self.parse_batch_train(
            batch_x, batch_u
        )
        weak = torch.cat([input_x, input_u])
        strong = torch.cat([input_x2, input_u2])

        with torch.no_grad():
            confidence, pseudo = F.softmax(self.model(weak), 1).max(1)
            mask = (confidence >= self.conf_thre).float()

        output_x = self.model(input_x)
        loss_x = F.cross_entropy(output_x, label_x)
        loss_u = F.cross_entropy(self.model(strong), pseudo, reduction="none")
        loss_u = (loss_u * mask).mean()
        self.model_backward_and_update(loss_x + loss_u * self.weight_u)

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        n = len(input_x)
        quality = self.assess_y_pred_quality(pseudo[n:], label_u, mask[n:])
        return {
            "loss_x": loss_x.detach(),
            "acc_x": compute_accuracy(output_x.detach(), label_x)[0],
            "loss_u": loss_u.detach(),
            "y_u_pred_acc_raw": quality["acc_raw"],
            "y_u_pred_acc_thre": quality["acc_thre"],
            "y_u_pred_keep": quality["keep_rate"],
        }

    def assess_y_pred_quality(
        self, y_pred: Tensor, y_true: Tensor, mask: Tensor
    ) -> dict[str, Tensor]:
        """How good pseudo labels are, for the log only.

        Args:
            y_pred: labels (B,) that the model gave.
            y_true: true labels (B,).
            mask: (B,), 1 where the model was sure enough.

        Returns:
            Accuracy of the sure ones, accuracy of all, share of the sure ones, each from 0 to 1.
        """
        right = (y_pred == y_true).float()
        kept = mask.sum()
        return {
            "acc_thre": (right * mask).sum() / (kept + 1e-5),
            "acc_raw": right.mean(),
            "keep_rate": kept / len(mask),
        }

    def parse_batch_train(
        self, batch_x: dict[str, Any], batch_u: dict[str, Any]
    ) -> tuple[Tensor, ...]:
        """Weak and strong views and labels; those of the unlabelled images are for the log only."""
        return tuple(
            self._to_device(batch[key])
            for batch in (batch_x, batch_u)
            for key in ("img", "img2", "label")
        )
