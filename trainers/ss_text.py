"""SS-Text (Silva-Rodriguez et al., IPMI 2025), arXiv:2506.06076, and SS-Text+ (MICCAI 2025),
arXiv:2506.17500. Reference code: jusiro/SS-Text.

A linear probe held at the class texts, in closed form and without val: w_c = t_c +
s / (N lambda_c) sum of the shots' features f_i of class c, s = 1/tau the logit scale. Logits are
s cos(f, w_c). SS-Text: lambda = 1/N for all. SS-Text+: lambda_c = 1/k_c, and from each w_c the unit
vector along 2 w_c - mean w is taken away ("repel"). Both lambdas are the code's, which holds them
at 1e-3 or more; texts that write one lambda for both mean another method. Differs from it: several
views of an image count as one shot, their unit mean.
Run: python train.py --trainer SSText --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.fit_once import FitOnce
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.cache import class_cache
from cerviclip.vlm.heads.prototypes import Prototypes, class_sums
from cerviclip.vlm.heads.scores import val_scores
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError

_MIN_LAMBDA = 1e-3


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of both variants."""
    for name, each, repel in (("SSTEXT", "all", False), ("SSTEXTPLUS", "class", True)):
        section = CN()
        section.PREC = "fp32"
        section.LAMBDA = each  # 1 over the shots of "all" classes or of each "class"
        section.REPEL = repel
        cfg.TRAINER[name] = section


def ss_text_weights(
    features: Tensor, labels: Tensor, texts: Tensor, scale: float | Tensor, each: str, repel: bool
) -> Tensor:
    """Class vectors (C, D) of shots (N, D) with labels (N,) and texts (C, D); texts for N = 0.

    Args:
        scale: the logit scale, 1/tau.
        each: ``all`` for lambda = 1/N, ``class`` for 1/k_c.
        repel: take away the unit vectors along 2 w - mean w.
    """
    sums, counts = class_sums(features, labels, len(texts))
    total = max(1, len(labels))
    inverse_lambda = counts[:, None] if each == "class" else float(total)
    if each == "class":
        inverse_lambda = inverse_lambda.clamp(max=1 / _MIN_LAMBDA)
    else:
        inverse_lambda = min(inverse_lambda, 1 / _MIN_LAMBDA)
    weights = texts + scale * inverse_lambda / total * sums
    if repel and len(labels):
        weights = weights - F.normalize(2 * weights - weights.mean(0), dim=-1)
    return weights


@TRAINER_REGISTRY.register()
class SSText(FitOnce, VLMTrainer):
    """SS-Text: class texts plus the scaled sums of the shots, closed form, no val."""

    image_input = "features"

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        name = cfg.TRAINER.NAME.upper()
        if cfg.TRAINER[name].LAMBDA not in ("all", "class"):
            given = cfg.TRAINER[name].LAMBDA
            raise UserError(f"TRAINER.{name}.LAMBDA is {given!r}; take all or class")

    def build_model(self) -> None:
        super().build_model()
        self.head = Prototypes(self.text_features()).to(self.device)
        self.head.requires_grad_(False)  # in closed form: no number is trained
        self.register_model("head", self.head)

    def fit(self) -> dict[str, float]:
        section = self.cfg.TRAINER[self.cfg.TRAINER.NAME.upper()]
        views, labels = self.split_features("train")  # (N, V, D), (N,)
        keys, _ = class_cache(views, labels, self.num_classes)
        texts, scale = self.text_features(), self.backbone.scale
        options = section.LAMBDA, section.REPEL
        self.head.set(ss_text_weights(keys, labels, texts, scale, *options))
        accuracy, loss = val_scores(self.head(keys, scale), labels)
        return {"loss": loss.item(), "acc": accuracy.item()}

    def model_inference(self, input: Tensor) -> Tensor:
        return self.head(self.image_features(input), self.backbone.scale)


@TRAINER_REGISTRY.register()
class SSTextPlus(SSText):
    """SS-Text+: lambda by the shots of each class, and class vectors that repel each other."""
