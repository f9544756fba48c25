"""Cross-modal linear probe (Lin et al., CVPR 2023), arXiv:2301.06267.

Reference code: linzhiqiu/cross_modal_adaptation. The texts of a class are further shots of it: one
linear classifier s w_c'f, started at the class texts, learns by cross-entropy on images and texts,
half of a batch each. Differs from the code: every step sees all texts with half the weight, the
expectation of a batch whose half is drawn from them; one setting (AdamW, 1e-3, 1e-2, 16 images and
as many texts) where the code searches 12 on val with early stopping; s is the backbone's (there
100, while the default of the code's head is 1/0.07). w is not normalised, as there.
Run: python train.py --trainer CrossModal --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.iterations import ByIterations, max_iters_or
from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, the code's."""
    cfg.TRAINER.CROSSMODAL = CN()
    cfg.TRAINER.CROSSMODAL.PREC = "fp32"
    cfg.TRAINER.CROSSMODAL.ITERS = 12800
    cfg.TRAINER.CROSSMODAL.TEXT_WEIGHT = 0.5  # share of the texts in the loss; 0: images alone


@TRAINER_REGISTRY.register()
class CrossModal(SupervisedStep, ByIterations, VLMTrainer):
    """Cross-modal probe: a linear classifier that learns from images and class texts alike."""

    image_input = "features"

    def count_iterations(self) -> int:
        return max_iters_or(self.cfg, self.cfg.TRAINER.CROSSMODAL.ITERS)

    def build_model(self) -> None:
        texts = self.class_texts()
        self.text_shots = self.text_features(
            [[text] for group in texts for text in group]
        )  # (P, D)
        counts = torch.tensor([len(group) for group in texts])
        self.text_labels = torch.arange(len(texts)).repeat_interleave(counts).to(self.device)
        sizes = self.backbone.embed_dim, self.num_classes
        self.head = nn.Linear(*sizes, bias=False, device=self.device)
        self.head.weight.data.copy_(self.text_features(texts))
        self.register_learner("head", self.head)

    def loss_and_logits(self, input: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        share = self.cfg.TRAINER.CROSSMODAL.TEXT_WEIGHT
        logits = self.model_inference(input)
        of_texts = self.backbone.scale * self.head(self.text_shots)
        loss = (1 - share) * F.cross_entropy(logits, label)
        return loss + share * F.cross_entropy(of_texts, self.text_labels), logits

    def model_inference(self, input: Tensor) -> Tensor:
        return self.backbone.scale * self.head(self.image_features(input))
