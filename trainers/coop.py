"""CoOp (Zhou et al., IJCV 2022), arXiv:2109.01134. Reference code: KaiyangZhou/CoOp.

Differs from it: the text tower runs over the longest prompt's tokens instead of all 77 columns, and
the class features of a trained prompt are computed once for a whole test; neither changes a logit.
Half precision is asked for by PREC instead of being the default, for the sake of CPUs.
Run: python train.py --trainer CoOp --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from yacs.config import CfgNode as CN

from cerviclip.engine.families.learned_context import LearnedContext, add_context_keys
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.COOP = CN()
    add_context_keys(cfg.TRAINER.COOP, n_ctx=16, ctx_init="")


@TRAINER_REGISTRY.register()
class CoOp(LearnedContext):
    """CoOp: a learned context before the class names, everything else frozen."""

    def build_model(self) -> None:
        self.learn_context(self.cfg.TRAINER.COOP)
