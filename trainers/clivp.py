"""CLIVP: an image stream and a text stream of a frozen CLIP, fused before a classifier.

The two modes of CLIVP-Cervix, a repository for cervical cells that this project replaces: mode 0
takes image features alone, mode 1 image and text features. There the text of an image is a
description written from its own label, which gives the answer away. Here no image has a text of
its own: the text stream of an image with unit feature f is a mean of the descriptions t_p of *all*
classes, g = norm(sum_p softmax_p(s f't_p / T) t_p), in training and at test alike. So g depends on
the image and on texts that are the same for every image, and on no label. Then
h = dropout([relu(A f), relu(B g)]) and logits = W h + b; mode 0 leaves B g out. Features are unit
vectors times sqrt(D). 50 epochs of batch 32 are the repository's; it states no widths and no rate.
Run: python train.py --trainer CLIVP --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method."""
    cfg.TRAINER.CLIVP = CN()
    cfg.TRAINER.CLIVP.PREC = "fp32"
    cfg.TRAINER.CLIVP.MODE = 1  # 0: image stream alone, 1: image and text
    cfg.TRAINER.CLIVP.PROMPTS = ""  # prompt set where DATASET.PROMPT_SET is empty
    cfg.TRAINER.CLIVP.TEMPERATURE = 1.0  # T; higher mixes more descriptions
    cfg.TRAINER.CLIVP.HIDDEN = 512  # width of each stream
    cfg.TRAINER.CLIVP.DROPOUT = 0.5


def described(image_features: Tensor, texts: Tensor, scale: Tensor | float) -> Tensor:
    """The text stream g (B, D): unit means of the texts (P, D), weighted by their similarity.

    Args:
        image_features: (B, D), L2-normalised.
        texts: (P, D), L2-normalised, of all classes.
        scale: s / T.
    """
    weights = (scale * image_features @ texts.t()).softmax(dim=-1)  # (B, P)
    return F.normalize(weights @ texts, dim=-1)


class FusionHead(nn.Module):
    """Logits (B, C) of an image stream and, where there is one, a text stream (B, D).

    Args:
        dim: D of the features.
        hidden: width of each stream.
        num_classes: C.
        dropout: share of the hidden units that a training step leaves out.
        with_text: mode 1.
    """

    def __init__(
        self, dim: int, hidden: int, num_classes: int, dropout: float, with_text: bool
    ) -> None:
        super().__init__()
        self.size = dim**0.5
        self.image = nn.Linear(dim, hidden)
        self.text = nn.Linear(dim, hidden) if with_text else None
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden * (1 + with_text), num_classes)

    def forward(self, image_features: Tensor, text_features: Tensor | None = None) -> Tensor:
        streams = [self.image(self.size * image_features)]
        if self.text is not None:
            streams.append(self.text(self.size * text_features))
        return self.out(self.dropout(F.relu(torch.cat(streams, dim=-1))))


@TRAINER_REGISTRY.register()
class CLIVP(SupervisedStep, VLMTrainer):
    """CLIVP: image features fused with class descriptions that are weighted by the image."""

    needs_text = False  # mode 1 does
    image_input = "features"

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        own = cfg.TRAINER.CLIVP
        if own.MODE not in (0, 1):
            raise UserError(f"TRAINER.CLIVP.MODE is {own.MODE}; take 0 (image) or 1 (image, text)")
        if own.TEMPERATURE <= 0:
            raise UserError(f"TRAINER.CLIVP.TEMPERATURE is {own.TEMPERATURE}; it must be above 0")
        self.needs_text = own.MODE == 1

    def build_model(self) -> None:
        cfg = self.cfg.TRAINER.CLIVP
        sizes = self.backbone.embed_dim, cfg.HIDDEN, self.num_classes
        self.head = FusionHead(*sizes, cfg.DROPOUT, self.needs_text).to(self.device)
        self.register_learner("head", self.head)
        if self.needs_text:
            texts = [text for of_class in self.class_texts(cfg.PROMPTS) for text in of_class]
            self.texts = self.text_features([[text] for text in dict.fromkeys(texts)])  # (P, D)

    def model_inference(self, input: Tensor) -> Tensor:
        features = self.image_features(input)
        if not self.needs_text:
            return self.head(features)
        scale = self.backbone.scale / self.cfg.TRAINER.CLIVP.TEMPERATURE
        return self.head(features, described(features, self.texts, scale))
