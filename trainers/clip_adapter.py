"""CLIP-Adapter (Gao et al., IJCV 2024), arXiv:2110.04544. Reference code: gaopengcuhk/CLIP-Adapter.

A bottleneck A(f) = ReLU(ReLU(f W1) W2), D to D/4 to D without bias, is mixed with the image
feature: f' = r A(f) + (1 - r) f. Logits are s cos(f', t); the loss is cross-entropy. r = 0.2 and
the net are the code's; the paper searches r for each data set and also describes a text adapter,
which the code does not use. The code ships no optimiser settings: those here are CoOp's with the
rate of LP++'s port (1e-2), whose logits leave f' unnormalised, unlike the code's. Differs from it:
f is a unit vector; A is homogeneous, so that after the final normalisation nothing changes.
Run: python train.py --trainer ClipAdapter --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method."""
    cfg.TRAINER.CLIPADAPTER = CN()
    cfg.TRAINER.CLIPADAPTER.PREC = "fp32"
    cfg.TRAINER.CLIPADAPTER.RATIO = 0.2  # of the adapter in the mixture; 0 is zero-shot
    cfg.TRAINER.CLIPADAPTER.REDUCTION = 4  # D over the width of the bottleneck


class FeatureAdapter(nn.Module):
    """Mixes a feature with a bottleneck of itself.

    Args:
        dim: D of the features.
        reduction: D over the width of the bottleneck.
        ratio: share r of the bottleneck.
    """

    def __init__(self, dim: int, reduction: int, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        width = max(1, dim // reduction)
        self.down = nn.Linear(dim, width, bias=False)
        self.up = nn.Linear(width, dim, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, D) to unit features (B, D)."""
        adapted = F.relu(self.up(F.relu(self.down(features))))
        return F.normalize(self.ratio * adapted + (1 - self.ratio) * features, dim=-1)


@TRAINER_REGISTRY.register()
class ClipAdapter(SupervisedStep, VLMTrainer):
    """CLIP-Adapter: a learned bottleneck mixed into the image feature, beside frozen texts."""

    image_input = "features"

    def build_model(self) -> None:
        cfg = self.cfg.TRAINER.CLIPADAPTER
        self.classifier = self.text_features()  # (C, D)
        adapter = FeatureAdapter(self.backbone.embed_dim, cfg.REDUCTION, cfg.RATIO)
        self.adapter = adapter.to(self.device)
        self.register_learner("adapter", self.adapter)

    def model_inference(self, input: Tensor) -> Tensor:
        features = self.adapter(self.image_features(input))
        return self.backbone.scale * features @ self.classifier.t()
