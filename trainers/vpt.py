"""VPT (Jia et al., ECCV 2022), arXiv:2203.12119, on CLIP. Reference code: the VPT baseline of
muzairkhattak/multimodal-prompt-learning.

n learned tokens P_i enter each of the first blocks of the vision tower, behind the class
token; the text tower is frozen (VPT-deep; depth 1 is VPT-shallow):

    [cls_i, _, patches_i] = L_i([cls_i-1, P_i-1, patches_i-1])

Published for CLIP: 8 tokens, depth 12, SGD, learning rate 0.0025, batch 4, 5 epochs.
Differs from it: the first tokens enter behind the tower's first LayerNorm (ln_pre) instead of
before it, as those of later blocks do. Tokens start from N(0, 0.02), as in the reference code; the
code of VPT draws them uniformly in the range of the patch embedding. The classes are the data set's
texts (DATASET.PROMPT_SET or templates). A ResNet has no
blocks that tokens can enter: it is refused.
Run: python train.py --trainer VPT --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.families.deep_prompted import DeepPrompted
from cerviclip.vlm.learned.deep_prompts import random_prompts
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the reference code but for PREC."""
    cfg.TRAINER.VPT = CN()
    cfg.TRAINER.VPT.PREC = "fp32"  # the reference: fp16
    cfg.TRAINER.VPT.N_CTX_VISION = 8  # tokens before a block
    cfg.TRAINER.VPT.PROMPT_DEPTH_VISION = 12  # blocks with tokens of their own; 1 is VPT-shallow


@TRAINER_REGISTRY.register()
class VPT(DeepPrompted):
    """VPT: learned tokens in the vision tower, everything else frozen."""

    depth_keys = {"vision": "PROMPT_DEPTH_VISION"}

    def build_model(self) -> None:
        cfg, width = self.cfg.TRAINER.VPT, self.backbone.visual.width
        prompts = random_prompts(cfg.PROMPT_DEPTH_VISION, cfg.N_CTX_VISION, width)
        self.prompts = prompts.to(self.device)
        self.register_learner("prompts", self.prompts)
        self.hand_written = self.text_features()  # (C, D)

    def visual_prompts(self) -> list[Tensor]:
        return list(self.prompts)

    def class_features(self) -> Tensor:
        return self.hand_written
