"""MaPLe (Khattak et al., CVPR 2023), arXiv:2210.03117. Reference code:
muzairkhattak/multimodal-prompt-learning.

Deep prompts P_i in the text tower, and in the vision tower what a linear layer of each block makes
of them, F_i(P_i). So the vision prompts learn through the text prompts alone:

    text:    [start, _, name_i] = L_i([start, P_i-1, name_i-1])
    vision:  [cls_i, _, patches_i] = V_i([cls_i-1, F_i-1(P_i-1), patches_i-1])

Published: 2 prompts, depth 9, SGD, learning rate 0.0035, batch 4, 5 epochs. CTX_INIT is "a photo of
a": its first two words learn and "of a" stays as it is, as in the
code. The layers F_2 and on start as copies of one in the code; here each is drawn for itself.
Differs from it: see trainers/vpt.py on the first vision prompts.
Run: python train.py --trainer MaPLe --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.families.deep_prompted import DeepPrompted, DeepTextPrompts
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.MAPLE = CN()
    cfg.TRAINER.MAPLE.PREC = "fp32"  # the paper's: fp16
    cfg.TRAINER.MAPLE.N_CTX = 2  # prompts before a block
    cfg.TRAINER.MAPLE.CTX_INIT = "a photo of a"  # its first N_CTX words learn; empty: at random
    cfg.TRAINER.MAPLE.PROMPT_DEPTH = 9  # blocks of each tower with prompts, from the first on


class CoupledPrompts(nn.Module):
    """Text prompts, and the layers that make vision prompts of them.

    Args:
        text: of the text tower.
        width: W of the vision tower.
    """

    def __init__(self, text: DeepTextPrompts, width: int) -> None:
        super().__init__()
        self.text = text
        self.couplings = nn.ModuleList(nn.Linear(p.shape[-1], width) for p in text.layers())

    def vision(self) -> list[Tensor]:
        """Prompts (M, W) of each block of the vision tower."""
        pairs = zip(self.couplings, self.text.layers(), strict=True)
        return [coupling(prompt) for coupling, prompt in pairs]


@TRAINER_REGISTRY.register()
class MaPLe(DeepPrompted):
    """MaPLe: deep text prompts, and vision prompts that are linear functions of them."""

    depth_keys = {"vision": "PROMPT_DEPTH", "text": "PROMPT_DEPTH"}

    def build_model(self) -> None:
        cfg = self.cfg.TRAINER.MAPLE
        text = DeepTextPrompts(
            self.backbone, self.task.classnames, cfg.N_CTX, cfg.CTX_INIT, cfg.PROMPT_DEPTH
        )
        self.prompts = CoupledPrompts(text, self.backbone.visual.width).to(self.device)
        self.keep_class_features(*text.parameters())
        self.register_learner("prompts", self.prompts)

    def visual_prompts(self) -> list[Tensor]:
        return self.prompts.vision()

    def encode_classes(self) -> Tensor:
        return self.prompts.text.features(self.backbone.text)
