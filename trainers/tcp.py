"""TCP, textual-based class-aware prompts (Yao, Zhang and Xu, CVPR 2024), arXiv:2311.18231.
Reference code: htyao89/Textual-based_Class-aware_prompt_tuning.

KgCoOp (trainers/kgcoop.py) whose context is replaced, before block LAYER of the text tower, by one
that a small network makes of the class's hand-written feature t_c:

    T_c = A_2 g(A_1 t_c + a_1) + a_2, reshaped to (M, W);   A_1: D to D/4
    loss = CE + W * mean over c of (1 - cos(w_c, t_c))

Published: 4 context vectors from "a photo of a", W 8, LAYER 8, Adam, learning rate 0.002, batch 32,
50 epochs. g is QuickGELU, as in the code.
In fp16 the code needs Adam's eps 1e-3; PREC bf16 does not. Hand-written prompts are the data set's
texts (DATASET.PROMPT_SET or templates).
Run: python train.py --trainer TCP --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.families.learned_context import LearnedContext, add_context_keys
from cerviclip.vlm.heads.class_features import KeptWhileUnchanged
from cerviclip.vlm.learned.deep_prompts import check_depth, text_prompts
from cerviclip.vlm.learned.teaching import mean_cosine_distance
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.TCP = CN()
    add_context_keys(cfg.TRAINER.TCP, n_ctx=4, ctx_init="a photo of a")
    cfg.TRAINER.TCP.W = 8.0  # weight of the distance to the hand-written prompts
    cfg.TRAINER.TCP.LAYER = 8  # block of the text tower that the class's prompts enter, from 0
    cfg.TRAINER.TCP.REDUCTION = 4  # the network's hidden width is D divided by this


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class ClassPrompter(nn.Sequential):
    """Class features (C, D) to prompts (C, M, W)."""

    def __init__(self, dim: int, hidden: int, n_ctx: int, width: int) -> None:
        super().__init__(
            nn.Linear(dim, hidden),
            QuickGELU(),
            nn.Linear(hidden, n_ctx * width),
            nn.Unflatten(-1, (n_ctx, width)),
        )


@TRAINER_REGISTRY.register()
class TCP(LearnedContext):
    """TCP: prompts within the text tower, made of each class's hand-written feature."""

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        if cfg.TRAINER.TCP.LAYER < 0:
            raise UserError(f"TRAINER.TCP.LAYER is {cfg.TRAINER.TCP.LAYER}; blocks count from 0")

    def build_backbone(self) -> None:
        """The backbone; refused at once where its text tower has no such block."""
        super().build_backbone()
        check_depth(self.backbone.text, 1, self.cfg.TRAINER.TCP.LAYER, "class-aware prompts")

    def build_model(self) -> None:
        cfg, dim = self.cfg.TRAINER.TCP, self.backbone.embed_dim
        self.hand_written = self.text_features()  # (C, D)
        self.learn_context(cfg)
        n_ctx, width = self.prompt_learner.ctx.shape[-2:]
        hidden = max(1, dim // cfg.REDUCTION)
        self.prompter = ClassPrompter(dim, hidden, n_ctx, width).to(self.device)
        self.register_learner("prompter", self.prompter)
        learned = [*self.prompt_learner.parameters(), *self.prompter.parameters()]
        self.class_features = KeptWhileUnchanged(self.encode_prompts, learned)

    def encode_prompts(self) -> Tensor:
        tower = self.backbone.text
        with self.precision.autocast():
            prompts = self.prompter(self.hand_written)
            inserted = text_prompts(tower, [prompts], self.cfg.TRAINER.TCP.LAYER)
            features = self.prompt_learner.features(tower, before_block=inserted)
        return F.normalize(features.float(), dim=-1)

    def loss_and_logits(self, input: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        classes = self.class_features()
        logits = self.logits_of(self.image_features(input), classes)
        distance = mean_cosine_distance(classes, self.hand_written)
        return F.cross_entropy(logits, label) + self.cfg.TRAINER.TCP.W * distance, logits
