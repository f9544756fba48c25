"""CoOp (Zhou et al., IJCV 2022), arXiv:2109.01134. Reference code: KaiyangZhou/CoOp.

Differs from it: the text tower runs over the longest prompt's tokens instead of all 77 columns, and
the class features of a trained prompt are computed once for a whole test; neither changes a logit.
Half precision is asked for by PREC instead of being the default, for the sake of CPUs.
Run: python train.py --trainer CoOp --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.class_features import KeptWhileUnchanged
from cerviclip.vlm.prompts import PromptLearner
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.COOP = CN()
    cfg.TRAINER.COOP.PREC = "fp32"  # the paper's: fp16
    cfg.TRAINER.COOP.N_CTX = 16  # context tokens
    cfg.TRAINER.COOP.CSC = False  # one context for each class
    cfg.TRAINER.COOP.CTX_INIT = ""  # words to start from, e.g. "a photo of a"; they set N_CTX
    cfg.TRAINER.COOP.CLASS_TOKEN_POSITION = "end"  # or middle, front


@TRAINER_REGISTRY.register()
class CoOp(SupervisedStep, VLMTrainer):
    """CoOp: a learned context before the class names, everything else frozen."""

    image_input = "features"

    def build_model(self) -> None:
        cfg = self.cfg.TRAINER.COOP
        self.prompt_learner = PromptLearner(
            self.backbone,
            self.task.classnames,
            cfg.N_CTX,
            cfg.CTX_INIT,
            cfg.CSC,
            cfg.CLASS_TOKEN_POSITION,
        ).to(self.device)
        self.class_features = KeptWhileUnchanged(self.encode_prompts, [self.prompt_learner.ctx])
        self.register_learner("prompt_learner", self.prompt_learner)

    def encode_prompts(self) -> Tensor:
        """Unit class features (C, D) of the prompts as they are now."""
        with self.precision.autocast():
            features = self.prompt_learner.features(self.backbone.text)
        return F.normalize(features.float(), dim=-1)

    def model_inference(self, input: Tensor) -> Tensor:
        return self.backbone.scale * self.image_features(input) @ self.class_features().t()
