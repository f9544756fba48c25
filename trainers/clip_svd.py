"""CLIP-SVD (Koleilat, Rivaz and Xiao, 2025), arXiv:2509.03740. Reference: HealthX-Lab/CLIP-SVD.

Every matrix of the blocks of both towers (q, k, v, o and the MLP) is W = U diag(sigma) V^T, and the
singular values learn; U, V and all else stay as they were. The loss is cross-entropy of
s cos(f, t_c) with the class's texts.

Published: AdamW, no weight decay, cosine to 1e-6, batch 32; natural images 5e-4 and 20 epochs,
biomedical ones 5e-4 to 1e-2 and 100 to 200 epochs by data set. One setting here: 1e-3, 100 epochs.
Differs from it: the weight is W + U diag(sigma - sigma_0) V^T, so that untouched values change no
bit; a tower without an MLP in its blocks (a ResNet, whose block is its pool) learns what it has.
Run: python train.py --trainer CLIPSVD --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary
from yacs.config import CfgNode as CN

from cerviclip.engine.families.adapted_towers import AdaptedTowers
from cerviclip.vlm.base import Tower
from cerviclip.vlm.learned.lora import TARGETS, replace_linears
from cerviclip.vlm.learned.merged import MergedWeight
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.CLIPSVD = CN()
    cfg.TRAINER.CLIPSVD.PREC = "fp32"  # the paper's: fp16 autocast, here "amp"
    cfg.TRAINER.CLIPSVD.TARGETS = TARGETS  # any of q, k, v, o, mlp


# U, sigma and V^T of a frozen weight: the runs of one process share them.
_FACTORS = WeakIdKeyDictionary()


def factors(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U (out, r), sigma (r,) and V^T (r, in) of a weight (out, in), float32."""
    if weight not in _FACTORS:
        _FACTORS[weight] = torch.linalg.svd(weight.detach().float(), full_matrices=False)
    return _FACTORS[weight]


class SVDLinear(MergedWeight, nn.Linear):
    """A linear layer around an existing one, whose singular values learn.

    ``sigma`` (r,) starts as the weight's own; the weight and the bias are the base's.
    """

    def __init__(self, base: nn.Linear) -> None:
        bias = base.bias is not None
        super().__init__(base.in_features, base.out_features, bias, device="meta")
        self.weight, self.bias = base.weight, base.bias
        left, sigma, right = factors(base.weight)
        self.register_buffer("left", left, persistent=False)
        self.register_buffer("right", right, persistent=False)
        self.register_buffer("start", sigma, persistent=False)
        self.sigma = nn.Parameter(sigma.clone())

    def sources(self) -> tuple[Tensor, ...]:
        return self.sigma, self.weight

    def updated_weight(self) -> Tensor:
        """W + U diag(sigma - sigma_0) V^T."""
        return self.weight.float() + (self.left * (self.sigma - self.start)) @ self.right

    def forward(self, x: Tensor) -> Tensor:
        weight = self.updated_weight() if self.open else self.merged_weight()
        return F.linear(x, weight.to(self.weight.dtype), self.bias)


def learn_singular_values(tower: Tower, targets: tuple[str, ...]) -> Tower:
    """A copy of a tower in which the singular values of some layers learn.

    Raises:
        UserError: none of the targets is a layer of this tower.
    """
    found = [t for t in targets if t in tower.lora_names]
    if not found or tower.num_blocks == 0:
        raise UserError(
            f"CLIP-SVD on {', '.join(targets)}: this {type(tower).__name__} has no such layers; "
            "choose a ViT, a CLIP ResNet or a transformer text tower (ViT-B/16, RN50, BiomedCLIP)"
        )
    adapted = replace_linears(tower, found, SVDLinear).requires_grad_(False)
    for layer in adapted.modules():
        if isinstance(layer, SVDLinear):
            layer.sigma.requires_grad_(True)
    return adapted.train(tower.training)


@TRAINER_REGISTRY.register()
class CLIPSVD(AdaptedTowers):
    """CLIP-SVD: the singular values of both towers' matrices."""

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        unknown = [t for t in cfg.TRAINER.CLIPSVD.TARGETS if t not in TARGETS]
        if unknown or not cfg.TRAINER.CLIPSVD.TARGETS:
            raise UserError(
                f"TRAINER.CLIPSVD.TARGETS is {tuple(cfg.TRAINER.CLIPSVD.TARGETS)}; take some of "
                f"{', '.join(TARGETS)}"
            )

    def build_model(self) -> None:
        targets = tuple(self.cfg.TRAINER.CLIPSVD.TARGETS)
        self.adapt(
            learn_singular_values(self.backbone.visual, targets),
            learn_singular_values(self.backbone.text, targets),
            "sigma",
        )
