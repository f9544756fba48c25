"""IVLP, independent vision and language prompts: the baseline of MaPLe (Khattak et al., CVPR 2023),
arXiv:2210.03117, and of PromptSRC. Reference code: muzairkhattak/PromptSRC.

Deep prompts in both towers that share nothing. The text tower's first prompt is a context before
the class names; the prompts of later blocks replace its states there. In the vision tower they are
VPT's tokens (trainers/vpt.py):

    text:    [start, _, name_i] = L_i([start, Q_i-1, name_i-1])
    vision:  [cls_i, _, patches_i] = L_i([cls_i-1, P_i-1, patches_i-1])

Published: 4 and 4 prompts from "a photo of a", depth 9 and 9, SGD, learning rate 0.0025, batch 4,
20 epochs. MaPLe's own repository, muzairkhattak/multimodal-prompt-learning, has 2 and 2 prompts,
depth 12 and 12, learning rate 0.0035 and 5 epochs.
Differs from it: see trainers/vpt.py on the first vision prompts.
Run: python train.py --trainer IVLP --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.families.deep_prompted import DeepPrompted, add_ivlp_keys
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the reference's yaml but for PREC."""
    cfg.TRAINER.IVLP = CN()
    add_ivlp_keys(cfg.TRAINER.IVLP)


@TRAINER_REGISTRY.register()
class IVLP(DeepPrompted):
    """IVLP: deep prompts in both towers, independent of each other."""

    depth_keys = {"vision": "PROMPT_DEPTH_VISION", "text": "PROMPT_DEPTH_TEXT"}

    def build_model(self) -> None:
        self.prompts = self.two_tower_prompts().to(self.device)
        self.keep_class_features(*self.prompts.text.parameters())
        self.register_learner("prompts", self.prompts)

    def visual_prompts(self) -> list[Tensor]:
        return list(self.prompts.vision)

    def encode_classes(self) -> Tensor:
        return self.prompts.text.features(self.backbone.text)
