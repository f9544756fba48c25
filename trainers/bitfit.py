"""BitFit: only biases learn (Ben Zaken, Ravfogel and Goldberg, ACL 2022), arXiv:2106.10199.

On CLIP as in the comparison of 2SFS (Farina et al., CVPR 2025), arXiv:2503.11609, whose settings
are taken: every bias of both towers, cross-entropy, AdamW, rate 2e-4, weight decay 1e-2, batch 32,
300 iterations a shot, cosine to 1e-6. Differs from it: patch embedding and projections of OpenAI's
towers have no bias, so nothing learns there.
Run: python train.py --trainer BitFit --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from yacs.config import CfgNode as CN

from cerviclip.engine.families.unfrozen import Unfrozen, add_unfrozen_keys
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of 2SFS's comparison but for PREC."""
    cfg.TRAINER.BITFIT = CN()
    add_unfrozen_keys(cfg.TRAINER.BITFIT, encoder="both", iters_per_shot=300)


@TRAINER_REGISTRY.register()
class BitFit(Unfrozen):
    """BitFit: the biases of both towers, trained with cross-entropy."""

    kinds = ("bias",)
