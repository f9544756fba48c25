"""2SFS, two-stage few-shot adaptation (Farina et al., CVPR 2025), arXiv:2503.11609.
Reference code: FarinaMatteo/rethinking_fewshot_vlms.

Stage 1 tunes the norms of both towers (or biases) by cross-entropy of s cos(f, t_c). In stage 2
the towers stay as they are; a classifier w_c starts at their t_c and learns by the same loss of
s cos(f, w_c), which is also that of inference.

Published: M = 300 iterations a shot, 60 % of them stage 1; AdamW, learning rate 2e-4, weight decay
1e-2, cosine to 1e-6, all anew for stage 2; batch 32. LoRA as stage 1, which the code offers too,
is left out. Selecting classes at inference (old or new) has no use here.
Run: python train.py --trainer TwoStageFewShot --dataset PhantomOCT --backbone PhantomCLIP
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from yacs.config import CfgNode as CN

from cerviclip.engine.families.adapted_towers import AdaptedTowers
from cerviclip.engine.iterations import (
    ByIterations,
    build_iteration_scheduler,
    iterations_per_shot,
)
from cerviclip.vlm.heads.class_features import KeptWhileUnchanged
from cerviclip.vlm.heads.prototypes import Prototypes
from cerviclip.vlm.learned.adapted import unfreeze
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.TWOSTAGEFEWSHOT = CN()
    cfg.TRAINER.TWOSTAGEFEWSHOT.PREC = "fp32"  # the paper's: fp16 autocast, here "amp"
    cfg.TRAINER.TWOSTAGEFEWSHOT.ITERS_PER_SHOT = 300  # iterations are this times the shots
    cfg.TRAINER.TWOSTAGEFEWSHOT.FRACTION = 0.6  # of the iterations that are stage 1
    cfg.TRAINER.TWOSTAGEFEWSHOT.TUNED = "norm"  # what stage 1 tunes: norm or bias


class SecondStage(Prototypes):
    """The classifier of stage 2, and whether it has begun (it is saved along).

    Args:
        start: class features (C, D), until stage 2 begins without effect.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__(start)
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    def begin(self, classes: Tensor) -> None:
        """Start at the class features (C, D) of the tuned text tower."""
        self.set(classes)
        self.begun.fill_(True)


@TRAINER_REGISTRY.register()
class TwoStageFewShot(ByIterations, AdaptedTowers):
    """2SFS: the norms of both towers first, then a classifier from their texts."""

    image_input = "images"  # the norm before the first block learns too

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        section = cfg.TRAINER.TWOSTAGEFEWSHOT
        if not 0 <= section.FRACTION < 1:
            raise UserError(
                f"TRAINER.TWOSTAGEFEWSHOT.FRACTION is {section.FRACTION}; take 0 or more and less "
                "than 1, or nothing is left for the second stage"
            )
        if section.TUNED not in ("norm", "bias"):
            raise UserError(
                f"TRAINER.TWOSTAGEFEWSHOT.TUNED is {section.TUNED!r}; take norm or bias"
            )

    def count_iterations(self) -> int:
        per_shot = self.cfg.TRAINER.TWOSTAGEFEWSHOT.ITERS_PER_SHOT
        return iterations_per_shot(self.cfg, self.dm.dataset, per_shot)

    @property
    def first_iterations(self) -> int:
        """Iterations of stage 1."""
        return int(self.max_iters * self.cfg.TRAINER.TWOSTAGEFEWSHOT.FRACTION)

    def build_model(self) -> None:
        tuned = self.cfg.TRAINER.TWOSTAGEFEWSHOT.TUNED
        self.adapt(
            unfreeze(self.backbone.visual, [tuned]), unfreeze(self.backbone.text, [tuned]), tuned
        )
        self.tower_learners = self.get_model_names()
        self.second = SecondStage(self.text_features()).to(self.device)
        self.register_learner("classifier", self.second)
        begun = self.second.begun  # read once and kept: an export cannot branch on a tensor
        self.second_begun = KeptWhileUnchanged(lambda: bool(begun), [begun])

    def build_schedule(self, optim: Optimizer) -> LRScheduler:
        """The config's schedule over the iterations of the stage in which this optimiser steps."""
        first = self.first_iterations
        of_second = optim.param_groups[0]["params"][0] is self.second.weight
        steps = self.max_iters - first if of_second else max(1, first)
        return build_iteration_scheduler(optim, self.cfg.OPTIM, steps)

    # -- stages --------------------------------------------------------------------------------

    @property
    def in_second(self) -> bool:
        """Whether the batch at hand belongs to stage 2."""
        return self.iterations_done >= self.first_iterations

    def learning_now(self) -> Sequence[str]:
        return ["classifier"] if self.in_second else self.tower_learners

    @torch.no_grad()
    def begin_second(self) -> None:
        with self.precision.autocast():
            self.second.begin(self.class_features())

    def loss_and_logits(self, input: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        if not self.in_second:
            images = self.encode_images(input)
            with self.precision.autocast():
                classes = self.class_features().float()
            logits = self.backbone.scale * images @ classes.t()
        else:
            with torch.no_grad():
                images = self.encode_images(input)
            logits = self.second(images, self.backbone.scale)
        return F.cross_entropy(logits, label), logits

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        if self.in_second and self._models[self.tower_learners[0]].training:
            self.set_model_mode("eval", self.tower_learners)  # batch statistics stand still
        if self.iterations_done == self.first_iterations:
            self.begin_second()
        return super().forward_backward(batch)

    def classify(self, image_features: Tensor) -> Tensor:
        if not self.second_begun():
            return super().classify(image_features)
        return self.second(image_features, self.backbone.scale)
