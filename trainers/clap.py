"""ZS-LP and CLAP (Silva-Rodriguez et al., CVPR 2024), arXiv:2312.12730. Reference: jusiro/CLAP.

ZS-LP: a linear probe of s cos(f, w_c) that starts at the class texts, w_c = t_c. CLAP: the loss is
cross-entropy + mean over c of lambda_c |w_c - t_c|^2. lambda_c is the mean zero-shot probability of
class c over its shots, set once: a class is held the *more*, the better zero-shot does on it. One
setting for all data sets, no val. Differs from the code: texts are unit vectors (there means of any
length n, where the same rate turns a vector n^2 times less); a class without shots is held by the
mean of the others (there by NaN). The code's outer steps on lambda are off by default there ("l2").
Run: python train.py --trainer CLAP --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.heads.prototypes import Prototypes, class_sums
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of both methods."""
    cfg.TRAINER.ZSLP = CN({"PREC": "fp32"})
    cfg.TRAINER.CLAP = CN({"PREC": "fp32"})
    cfg.TRAINER.CLAP.WEIGHT = 1.0  # of the penalty; the paper's. 0 is ZS-LP


def class_multipliers(zero_shot_logits: Tensor, labels: Tensor) -> Tensor:
    """Lambda (C,), the mean probability of the true class, of logits (N, C), labels (N,)."""
    of_true = zero_shot_logits.softmax(-1).gather(1, labels[:, None])  # (N, 1)
    sums, counts = class_sums(of_true, labels, zero_shot_logits.shape[1])
    means = sums[:, 0] / counts.clamp(min=1)
    overall = means.sum() / (counts > 0).sum()
    return torch.where(counts > 0, means, overall)


def penalty(weight: Tensor, texts: Tensor, multipliers: Tensor) -> Tensor:
    """What is added to cross-entropy for vectors and texts (C, D)."""
    return (multipliers * (weight - texts).square().sum(-1)).mean()


@TRAINER_REGISTRY.register()
class ZSLP(SupervisedStep, VLMTrainer):
    """ZS-LP: a cosine linear probe that starts at the class texts."""

    image_input = "features"

    def build_model(self) -> None:
        self.classifier = self.text_features()  # (C, D)
        self.head = Prototypes(self.classifier).to(self.device)
        self.register_learner("head", self.head)

    def model_inference(self, input: Tensor) -> Tensor:
        return self.head(self.image_features(input), self.backbone.scale)


@TRAINER_REGISTRY.register()
class CLAP(ZSLP):
    """CLAP: ZS-LP that is held at the texts of those classes that zero-shot knows."""

    def build_model(self) -> None:
        super().build_model()
        self.multipliers = torch.zeros(self.num_classes, device=self.device)  # known by its shots

    def prepare_fit(self) -> None:
        super().prepare_fit()
        views, labels = self.split_features("train")  # (N, V, D), (N,)
        logits = self.backbone.scale * views.flatten(0, 1) @ self.classifier.t()
        rows = labels.repeat_interleave(views.shape[1])
        self.multipliers = class_multipliers(logits, rows)

    def loss_and_logits(self, input: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model_inference(input)
        held = penalty(self.head.weight, self.classifier, self.multipliers)
        return F.cross_entropy(logits, label) + self.cfg.TRAINER.CLAP.WEIGHT * held, logits
