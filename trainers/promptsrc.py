"""PromptSRC (Khattak et al., ICCV 2023), arXiv:2307.06948. Reference code: muzairkhattak/PromptSRC.

IVLP (trainers/ivlp.py) held near the frozen towers. With F, T the unit features of the prompted
towers, F0, T0 those of the frozen ones (T0 averaged over hand-written prompts), p, p0 the softmax
of their logits:

    loss = CE + IMAGE_WEIGHT |F - F0|_1 + TEXT_WEIGHT |T - T0|_1 + KL(p0 || p)
    final prompts = sum over epochs e of w_e P_e,  w_e ~ exp(-(e - MEAN)^2 / (2 STD^2))

Published: 4 and 4 prompts from "a photo of a", depth 9 and 9, weights 10 (image) and 25 (text),
SGD, learning rate 0.0025, batch 4; few shots: 50 epochs with MEAN 30 and STD 30; base to new: 20
epochs with 15 and 1. The paper writes sums; in the code, and here, |.|_1 is the mean over values
and the KL the mean over images and classes. The weights belong to the means.
Differs from it: T0 are the data set's texts (DATASET.PROMPT_SET or templates) in place of 60
templates of ImageNet; see trainers/vpt.py on the first vision prompts.
Run: python train.py --trainer PromptSRC --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.families.deep_prompted import DeepPrompted, TwoTowerPrompts, add_ivlp_keys
from cerviclip.vlm.learned.teaching import mean_divergence
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper's few-shot runs but for PREC."""
    cfg.TRAINER.PROMPTSRC = CN()
    add_ivlp_keys(cfg.TRAINER.PROMPTSRC)
    cfg.TRAINER.PROMPTSRC.IMAGE_WEIGHT = 10.0  # of the distance of image features
    cfg.TRAINER.PROMPTSRC.TEXT_WEIGHT = 25.0  # of the distance of class features
    cfg.TRAINER.PROMPTSRC.LOGITS_WEIGHT = 1.0  # of the KL; the paper has no weight there
    cfg.TRAINER.PROMPTSRC.GPA_MEAN = 30.0  # epoch whose prompts count most
    cfg.TRAINER.PROMPTSRC.GPA_STD = 30.0  # epochs


def epoch_weights(epochs: int, mean: float, std: float) -> Tensor:
    """Weights (E,) of the prompts behind epochs 1 to E, summing to 1."""
    distance = (torch.arange(1, epochs + 1, dtype=torch.float64) - mean) / std
    return (-distance.square() / 2).softmax(dim=0)


class AveragedPrompts(TwoTowerPrompts):
    """Prompts of both towers, and their weighted sum over the epochs so far.

    The sums are buffers, so that a resumed run goes on with them.
    """

    def keep_sums(self) -> None:
        """Begin with sums of zero."""
        for name, parameter in list(self.named_parameters()):
            buffer = torch.zeros_like(parameter, requires_grad=False)
            self.register_buffer(f"sum_{name.replace('.', '_')}", buffer)

    def _sums(self) -> list[tuple[Tensor, Tensor]]:
        named = self.named_parameters()
        return [(p, getattr(self, f"sum_{name.replace('.', '_')}")) for name, p in named]

    @torch.no_grad()
    def add(self, weight: float) -> None:
        """Add the prompts as they are now, times ``weight``."""
        for parameter, total in self._sums():
            total.add_(parameter, alpha=weight)

    @torch.no_grad()
    def take_sums(self) -> None:
        """Make the sums the prompts."""
        for parameter, total in self._sums():
            parameter.copy_(total)


@TRAINER_REGISTRY.register()
class PromptSRC(DeepPrompted):
    """PromptSRC: deep prompts in both towers, regularised by the frozen towers and by averaging."""

    depth_keys = {"vision": "PROMPT_DEPTH_VISION", "text": "PROMPT_DEPTH_TEXT"}

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        if cfg.TRAINER.PROMPTSRC.GPA_STD <= 0:
            raise UserError(
                f"TRAINER.PROMPTSRC.GPA_STD is {cfg.TRAINER.PROMPTSRC.GPA_STD}; take a number of "
                "epochs above 0"
            )

    def build_model(self) -> None:
        pair = self.two_tower_prompts()
        self.prompts = AveragedPrompts(pair.text, pair.vision).to(self.device)
        self.prompts.keep_sums()
        self.keep_class_features(*self.prompts.text.parameters())
        self.register_learner("prompts", self.prompts)
        self.frozen_classes = self.text_features()  # (C, D)

    def visual_prompts(self) -> list[Tensor]:
        return list(self.prompts.vision)

    def encode_classes(self) -> Tensor:
        return self.prompts.text.features(self.backbone.text)

    @torch.no_grad()
    def frozen_features(self, hidden: Tensor) -> Tensor:
        """Unit features (B, D) of the vision tower without prompts."""
        with self.precision.autocast():
            features = self.backbone.visual.finish(hidden, 0)
        return F.normalize(features.float(), dim=-1)

    def loss_and_logits(self, input: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        cfg, scale = self.cfg.TRAINER.PROMPTSRC, self.backbone.scale
        hidden = self.hidden_states(input)
        images, classes = self.prompted_features(hidden), self.class_features()
        frozen = self.frozen_features(hidden)
        logits = scale * images @ classes.t()
        loss = F.cross_entropy(logits, label)
        loss = loss + cfg.IMAGE_WEIGHT * F.l1_loss(images, frozen)
        loss = loss + cfg.TEXT_WEIGHT * F.l1_loss(classes, self.frozen_classes)
        divergence = mean_divergence(logits, scale * frozen @ self.frozen_classes.t())
        return loss + cfg.LOGITS_WEIGHT * divergence, logits

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        summary = super().forward_backward(batch)
        if self.batch_idx + 1 == self.num_batches:
            self._end_epoch()
        return summary

    def _end_epoch(self) -> None:
        cfg = self.cfg.TRAINER.PROMPTSRC
        weights = epoch_weights(self.max_epoch, cfg.GPA_MEAN, cfg.GPA_STD).tolist()
        self.prompts.add(weights[self.epoch])
        if self.epoch + 1 == self.max_epoch:
            self.prompts.take_sums()
