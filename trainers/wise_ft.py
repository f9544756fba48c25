"""WiSE-FT: weights between zero-shot and fine-tuned (Wortsman et al., CVPR 2022), arXiv:2109.01903.

Reference code: mlfoundations/wise-ft. Training is FullFineTune's (trainers/full_fine_tune.py),
from the zero-shot weights theta_0 to theta_1. What is validated, tested and deployed is

    theta = (1 - a) theta_0 + a theta_1,   a = ALPHA

in all weights, the classifier and the running statistics of batch norms. A checkpoint holds
theta_1, so another a needs no training: --eval-only --model-dir RUN TRAINER.WISEFT.ALPHA 0.3.
Published: a = 0.5 without a search, or the whole curve from 0 to 1; a chosen on val is not offered.
Run: python train.py --trainer WiSEFT --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.families.fine_tuned import ClassifierFromTexts, FineTuned
from cerviclip.engine.families.unfrozen import add_unfrozen_keys
from cerviclip.vlm.base import Tower
from cerviclip.vlm.files.tensor_state import state_of
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.WISEFT = CN()
    add_unfrozen_keys(cfg.TRAINER.WISEFT, encoder="vision", iters_per_shot=0)
    cfg.TRAINER.WISEFT.ALPHA = 0.5  # a: 0 is zero-shot, 1 is fine-tuned


@torch.no_grad()
def interpolated(base: Tower, tuned: Tower, names: Sequence[str], alpha: float) -> Tower:
    """A copy of ``tuned``, frozen and in evaluation mode, with (1 - alpha) base + alpha tuned.

    Args:
        names: parameters and buffers that differ; what counts (batches seen) stays tuned's.
    """
    merged = copy.deepcopy(tuned).requires_grad_(False).eval()
    start, end = base.state_dict(), merged.state_dict()  # they share the towers' memory
    for name in names:
        if end[name].is_floating_point():
            end[name].copy_(torch.lerp(start[name].to(end[name].dtype), end[name], alpha))
    return merged


@TRAINER_REGISTRY.register()
class WiSEFT(FineTuned):
    """WiSE-FT: fine-tuned as a whole, deployed between zero-shot and fine-tuned weights."""

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        if not 0 <= cfg.TRAINER.WISEFT.ALPHA <= 1:
            raise UserError(
                f"TRAINER.WISEFT.ALPHA is {cfg.TRAINER.WISEFT.ALPHA}; it lies between 0 and 1"
            )

    def build_model(self) -> None:
        self._merged: dict[str, tuple[tuple[int, ...], Tower]] = {}
        super().build_model()

    def set_model_mode(self, mode: str = "train", names=None) -> None:
        super().set_model_mode(mode, names)
        if mode == "train":
            self._merged.clear()  # a third copy of the weights is kept for evaluation alone

    @property
    def merges(self) -> bool:
        """Whether the interpolated weights are in use: always but in training."""
        return not any(tower.training for tower in self.towers.values())

    def tower(self, name: str) -> Tower:
        tuned = super().tower(name)
        if name not in self.towers or not self.merges:
            return tuned
        made_from = state_of(*tuned.parameters(), *tuned.buffers())
        if name not in self._merged or self._merged[name][0] != made_from:
            merged = interpolated(
                self.frozen_tower(name), tuned, self._models[name].saved, self.section.ALPHA
            )
            self._merged[name] = made_from, merged
        return self._merged[name][1]

    def head_weights(self, head: ClassifierFromTexts) -> tuple[Tensor, Tensor]:
        if not self.merges:
            return head.weight, head.bias
        start = self.backbone.scale * self.class_features()
        alpha = self.section.ALPHA
        return torch.lerp(start, head.weight, alpha), head.bias * alpha
