"""Zero-shot CLIP (Radford et al., ICML 2021), arXiv:2103.00020. Reference code: openai/CLIP.

Differs from it: prompts are the dataset's own templates or class descriptions; each class's prompts
are averaged after L2 normalisation, as in section 3.1.4 of the paper (prompt ensembling).
Run: python train.py --trainer ZeroShotCLIP --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.vlm_trainer import VLMTrainer
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method."""
    cfg.TRAINER.ZEROSHOTCLIP = CN()
    cfg.TRAINER.ZEROSHOTCLIP.PREC = "fp32"


@TRAINER_REGISTRY.register()
class ZeroShotCLIP(VLMTrainer):
    """Zero-shot CLIP: cosine between an image and each class's texts; nothing is trained."""

    learns = "nothing"
    image_input = "features"
    needs_training = False

    def build_model(self) -> None:
        self.max_epoch = 0  # nothing to train
        self.classifier = self.text_features()  # (C, D), L2-normalised

    def model_inference(self, input: Tensor) -> Tensor:
        return self.backbone.scale * self.image_features(input) @ self.classifier.t()


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(ZeroShotCLIP):
    """Another name of ZeroShotCLIP, as upstream spells it."""
