"""LN-tuning: only the affine parameters of the norms learn.

The method of Kim et al., How to Adapt Your Large-Scale Vision-and-Language Model (2021), and of
Qi et al., Parameter-Efficient Tuning on Layer Normalization (2022), arXiv:2211.08682, with the
settings of 2SFS's comparison (Farina et al., CVPR 2025, arXiv:2503.11609): weight and bias of every
LayerNorm of both towers, cross-entropy, AdamW, rate 2e-4, weight decay 1e-2, batch 32, 300
iterations a shot, cosine to 1e-6. Differs from it: on a CLIP ResNet, which has no LayerNorm, the
batch norms learn in its stead.
Run: python train.py --trainer LNTuning --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from yacs.config import CfgNode as CN

from cerviclip.engine.families.unfrozen import Unfrozen, add_unfrozen_keys
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of 2SFS's comparison but for PREC."""
    cfg.TRAINER.LNTUNING = CN()
    add_unfrozen_keys(cfg.TRAINER.LNTUNING, encoder="both", iters_per_shot=300)


@TRAINER_REGISTRY.register()
class LNTuning(Unfrozen):
    """LN-tuning: weights and biases of the norms of both towers, trained with cross-entropy."""

    kinds = ("norm",)
