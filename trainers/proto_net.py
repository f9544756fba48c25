"""SimpleShot (Wang et al., 2019), arXiv:1911.04623: nearest class mean of normalised features.

Features are centred and scaled to unit length ("CL2N"), x = (f - m) / |f - m|. A class is the mean
of its shots as in ProtoNet (Snell et al., NeurIPS 2017, arXiv:1703.05175, eq. 1), and an image
takes the class of the nearest mean by Euclidean distance. Differs from it: the centre m is the mean
of the class means of the shots (there of the base classes' images, which a frozen CLIP has not).
Probabilities are a softmax of negative squared distances (Snell, eq. 2) at a sharpness that val
chooses by log-loss; it changes no prediction.
Run: python train.py --trainer ProtoNet --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.fit_once import FitOnce
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.cache import class_cache
from cerviclip.vlm.heads.logistic import ABSENT_BIAS
from cerviclip.vlm.heads.prototypes import class_sums
from cerviclip.vlm.heads.scores import val_scores
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method."""
    cfg.TRAINER.PROTONET = CN()
    cfg.TRAINER.PROTONET.PREC = "fp32"
    cfg.TRAINER.PROTONET.CENTER = True  # False: L2N, the paper's variant without a centre
    cfg.TRAINER.PROTONET.SHARPNESS = (1.0, 3.0, 10.0, 30.0, 100.0)  # tried on val by log-loss
    cfg.TRAINER.PROTONET.SHARPNESS_DEFAULT = 10.0  # where val is empty


class NearestMean(nn.Module):
    """Negative squared distances to class means, of centred unit features.

    Args:
        dim: D of the features.
        num_classes: C.
    """

    center: Tensor
    means: Tensor
    bias: Tensor
    sharpness: Tensor

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(dim))
        self.register_buffer("means", torch.zeros(num_classes, dim))
        self.register_buffer("bias", torch.zeros(num_classes))
        self.register_buffer("sharpness", torch.tensor(1.0))

    def set_means(self, features: Tensor, labels: Tensor, centred: bool) -> None:
        """Centre and means of the shots (N, D); a class without any can never be predicted."""
        sums, counts = class_sums(features, labels, len(self.means))
        counts = counts[:, None]
        if centred:
            self.center.copy_((sums / counts.clamp(min=1)).sum(0) / (counts > 0).sum())
        sums, _ = class_sums(self.normalise(features), labels, len(self.means))
        self.means.copy_(sums / counts.clamp(min=1))
        self.bias.copy_(torch.where(counts[:, 0] > 0, 0.0, ABSENT_BIAS))

    def normalise(self, features: Tensor) -> Tensor:
        return F.normalize(features - self.center, dim=-1)

    def distances(self, features: Tensor) -> Tensor:
        """Squared distances (B, C)."""
        return (self.normalise(features)[:, None] - self.means).square().sum(-1)

    def forward(self, features: Tensor) -> Tensor:
        return self.bias - self.sharpness * self.distances(features)


@TRAINER_REGISTRY.register()
class ProtoNet(FitOnce, VLMTrainer):
    """SimpleShot: the nearest class mean of centred, L2-normalised features; no text."""

    image_input = "features"
    needs_text = False

    def build_model(self) -> None:
        super().build_model()
        self.head = NearestMean(self.backbone.embed_dim, self.num_classes).to(self.device)
        self.register_model("head", self.head)

    def fit(self) -> dict[str, float]:
        cfg = self.cfg.TRAINER.PROTONET
        views, labels = self.split_features("train")  # (N, V, D), (N,)
        keys, _ = class_cache(views, labels, self.num_classes)
        self.head.set_means(keys, labels, cfg.CENTER)
        self.head.sharpness.fill_(cfg.SHARPNESS_DEFAULT)
        self.choose_sharpness(cfg.SHARPNESS)
        return {"sharpness": self.head.sharpness.item()}

    def choose_sharpness(self, tried: tuple[float, ...]) -> None:
        views, labels = self.split_features("val")
        if not len(labels):
            return
        distances = self.head.distances(views[:, 0])
        logits = self.head.bias - torch.tensor(tried, device=self.device)[:, None, None] * distances
        best = self.choose_on_val(
            [{"sharpness": s} for s in tried], *val_scores(logits, labels), by="log_loss"
        )
        self.head.sharpness.fill_(tried[best])

    def model_inference(self, input: Tensor) -> Tensor:
        return self.head(self.image_features(input))
