"""A two-layer classifier on frozen features: linear, ReLU, dropout, linear; no text.

The "custom classifier" of a histology repository that this project replaces, beside its logistic
regression: label smoothing, Adam with weight decay 1e-5, steps of the rate, 35 epochs. It states
neither width nor dropout; 512 and 0.5 are ours. Features are unit vectors times sqrt(D), so that
their entries have the size that the layers' random start expects.
Run: python train.py --trainer ClipMLP --dataset-config-file configs/datasets/phantom_oct.yaml
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
    cfg.TRAINER.CLIPMLP = CN()
    cfg.TRAINER.CLIPMLP.PREC = "fp32"
    cfg.TRAINER.CLIPMLP.HIDDEN = 512  # width of the layer between
    cfg.TRAINER.CLIPMLP.DROPOUT = 0.5
    cfg.TRAINER.CLIPMLP.LABEL_SMOOTHING = 0.1


class FeatureMLP(nn.Module):
    """Unit features (B, D) to logits (B, C) by one hidden layer.

    Args:
        dim: D of the features.
        hidden: width of the hidden layer.
        num_classes: C.
        dropout: share of the hidden units that a training step leaves out.
    """

    def __init__(self, dim: int, hidden: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.size = dim**0.5
        self.hidden = nn.Linear(dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, num_classes)

    def forward(self, image_features: Tensor) -> Tensor:
        hidden = F.relu(self.hidden(self.size * image_features))
        return self.out(self.dropout(hidden))


@TRAINER_REGISTRY.register()
class ClipMLP(SupervisedStep, VLMTrainer):
    """A hidden layer with dropout on frozen image features."""

    image_input = "features"
    needs_text = False

    def build_model(self) -> None:
        cfg = self.cfg.TRAINER.CLIPMLP
        sizes = self.backbone.embed_dim, cfg.HIDDEN, self.num_classes
        self.head = FeatureMLP(*sizes, cfg.DROPOUT).to(self.device)
        self.register_learner("head", self.head)

    def loss_and_logits(self, input: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model_inference(input)
        smoothing = self.cfg.TRAINER.CLIPMLP.LABEL_SMOOTHING
        return F.cross_entropy(logits, label, label_smoothing=smoothing), logits

    def model_inference(self, input: Tensor) -> Tensor:
        return self.head(self.image_features(input))
