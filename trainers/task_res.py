"""TaskRes, task residual (Yu et al., CVPR 2023), arXiv:2211.10277. Reference: geekyutao/TaskRes.

The classifier is t' = t + alpha x: frozen texts t and a residual x for each class, zero at the
start. Logits are s cos(f, t'); the loss is cross-entropy. alpha is 0.5 as in the paper (1 for
Flowers102), while the code's default is 1. Differs from the code: the residual is added to unit
texts (there to a mean of texts of any length, so the same rate moves a class less), and the
enhanced base, a text projection tuned beforehand, is left out.
Run: python train.py --trainer TaskRes --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method."""
    cfg.TRAINER.TASKRES = CN()
    cfg.TRAINER.TASKRES.PREC = "fp32"
    cfg.TRAINER.TASKRES.ALPHA = 0.5  # scale of the residual; the paper: 1 for Flowers102


class TaskResidual(nn.Module):
    """A residual x (C, D) for each class, zero at the start.

    Args:
        num_classes: C.
        dim: D of the features.
        alpha: scale of the residual.
    """

    def __init__(self, num_classes: int, dim: int, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.residual = nn.Parameter(torch.zeros(num_classes, dim))

    def forward(self, texts: Tensor) -> Tensor:
        """Texts (C, D) to unit class features (C, D): t + alpha x."""
        return F.normalize(texts + self.alpha * self.residual, dim=-1)


@TRAINER_REGISTRY.register()
class TaskRes(SupervisedStep, VLMTrainer):
    """TaskRes: a learned residual beside the frozen feature of each class's texts."""

    image_input = "features"

    def build_model(self) -> None:
        self.classifier = self.text_features()  # (C, D)
        alpha = self.cfg.TRAINER.TASKRES.ALPHA
        self.residual = TaskResidual(*self.classifier.shape, alpha).to(self.device)
        self.register_learner("residual", self.residual)

    def model_inference(self, input: Tensor) -> Tensor:
        classes = self.residual(self.classifier)
        return self.backbone.scale * self.image_features(input) @ classes.t()
