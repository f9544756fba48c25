"""GDA, "A hard-to-beat baseline" (Wang et al., ICLR 2024), arXiv:2402.04087. Code: mrflogs/ICLR24.

Gaussian discriminant analysis beside zero-shot CLIP, closed form: w_c = S mu_c and
b_c = log pi_c - mu_c' S mu_c / 2 with one precision S for all classes, pi_c = 1/C. S is the
estimate of Kubokawa and Srivastava, D ((N - 1) Sigma + tr(Sigma) I)^-1. Logits are
s f't + alpha (W f + b), alpha of 1e-4 ... 100 by val. Differs from the code: s is the backbone's
(there 100); without val alpha is 0.1, the code's start value; on ImageNet the code chooses alpha on
the test set, here never. A class without shots is never predicted by its Gaussian.
Run: python train.py --trainer GDA --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.fit_once import FitOnce
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.heads.logistic import ABSENT_BIAS
from cerviclip.vlm.heads.prototypes import class_sums
from cerviclip.vlm.heads.scores import val_scores
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, the paper's."""
    cfg.TRAINER.GDA = CN()
    cfg.TRAINER.GDA.PREC = "fp32"
    cfg.TRAINER.GDA.ALPHA = 0.1  # weight of the classifier where val is empty
    cfg.TRAINER.GDA.SEARCH = True
    cfg.TRAINER.GDA.SEARCH_ALPHA = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


def precision_matrix(centred: Tensor) -> Tensor:
    """S (D, D) of features (N, D) less their class means."""
    centred = centred - centred.mean(0)
    count, dim = centred.shape
    covariance = centred.t() @ centred / max(1, count - 1)
    ridge = torch.eye(dim, dtype=centred.dtype, device=centred.device) * covariance.trace()
    # One shot and one view leave no spread: then the pseudo-inverse of zero is zero.
    return dim * torch.linalg.pinv((count - 1) * covariance + ridge, hermitian=True)


def gda_classifier(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Weight (C, D) and bias (C,) of features (N, D) with labels (N,)."""
    x = features.double()  # the inverse of a matrix with directions of no spread
    sums, counts = class_sums(x, labels, num_classes)
    means = sums / counts.clamp(min=1)[:, None]
    weight = means @ precision_matrix(x - means[labels])
    bias = -math.log(num_classes) - (weight * means).sum(-1) / 2
    bias = torch.where(counts > 0, bias, torch.full_like(bias, ABSENT_BIAS))
    return weight.to(features.dtype), bias.to(features.dtype)


class GaussianHead(nn.Module):
    """alpha (W f + b), to be added to the zero-shot logits.

    Args:
        dim: D of the features.
        num_classes: C.
        alpha: weight of the classifier.
    """

    alpha: Tensor

    def __init__(self, dim: int, num_classes: int, alpha: float) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, num_classes)
        self.register_buffer("alpha", torch.tensor(float(alpha)))

    def forward(self, image_features: Tensor) -> Tensor:
        return self.alpha * self.linear(image_features)


@TRAINER_REGISTRY.register()
class GDA(FitOnce, VLMTrainer):
    """GDA: zero-shot logits plus a Gaussian discriminant of the shots, no training."""

    image_input = "features"

    def build_model(self) -> None:
        super().build_model()
        self.classifier = self.text_features()  # (C, D)
        sizes = self.backbone.embed_dim, self.num_classes
        self.head = GaussianHead(*sizes, self.cfg.TRAINER.GDA.ALPHA).to(self.device)
        self.head.requires_grad_(False)  # in closed form: no number is trained
        self.register_model("head", self.head)

    def fit(self) -> dict[str, float]:
        views, labels = self.split_features("train")  # (N, V, D), (N,)
        rows = views.flatten(0, 1), labels.repeat_interleave(views.shape[1])
        weight, bias = gda_classifier(*rows, self.num_classes)
        self.head.linear.weight.copy_(weight)
        self.head.linear.bias.copy_(bias)
        self.search()
        return {"alpha": self.head.alpha.item()}

    def search(self) -> None:
        """Set alpha to the best on val; without val the default stays."""
        cfg = self.cfg.TRAINER.GDA
        views, labels = self.split_features("val")
        if not cfg.SEARCH or not len(labels):
            return
        features, tried = views[:, 0], torch.tensor(cfg.SEARCH_ALPHA, device=self.device)
        logits = self.clip_logits(features) + tried[:, None, None] * self.head.linear(features)
        best = self.choose_on_val(
            [{"alpha": alpha} for alpha in cfg.SEARCH_ALPHA], *val_scores(logits, labels)
        )
        self.head.alpha.fill_(cfg.SEARCH_ALPHA[best])

    def clip_logits(self, features: Tensor) -> Tensor:
        return self.backbone.scale * features @ self.classifier.t()

    def model_inference(self, input: Tensor) -> Tensor:
        features = self.image_features(input)
        return self.clip_logits(features) + self.head(features)
