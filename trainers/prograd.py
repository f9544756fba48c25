"""ProGrad (Zhu et al., ICCV 2023), arXiv:2205.14865. Reference code: BeierZhu/Prompt-align.

CoOp whose steps never forget what zero-shot CLIP knows. With p_zs and p the softmax of the logits
over T, of hand-written prompts and of the learned context:

    KL = - T^2 * mean over images of sum over c of p_zs log p             (less a constant)
    g  = g_CE                                  where g_CE . g_KL >= 0
    g  = g_CE - LAMBDA (g_CE . u) u            elsewhere, u = g_KL / |g_KL|             (eq. 4)

Published: 16 context vectors, random at first, LAMBDA 1, T 1, SGD, learning rate 0.002, batch 32,
100 epochs. The paper projects the whole gradient; the code, and the step here, go parameter by
parameter. With one context these are the same.
Differs from it: the hand-written prompts are the data set's texts (DATASET.PROMPT_SET or
templates). PREC fp16 and amp are refused: two gradients and no scaler would lose small values.
Run: python train.py --trainer ProGrad --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.families.learned_context import LearnedContext, add_context_keys
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.PROGRAD = CN()
    add_context_keys(cfg.TRAINER.PROGRAD, n_ctx=16, ctx_init="")
    cfg.TRAINER.PROGRAD.LAMBDA = 1.0  # share of the opposing component that is taken out
    cfg.TRAINER.PROGRAD.T = 1.0  # temperature of both softmaxes


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Cross-entropy (scalar) of the teacher's and the model's probabilities, times T^2."""
    wanted = F.softmax(teacher / temperature, dim=-1)
    return F.cross_entropy(logits / temperature, wanted) * temperature**2


@TRAINER_REGISTRY.register()
class ProGrad(LearnedContext):
    """ProGrad: a learned context, updated only along what does not oppose zero-shot CLIP."""

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        section = cfg.TRAINER.PROGRAD
        if section.PREC in ("fp16", "amp"):
            raise UserError(
                f"TRAINER.PROGRAD.PREC is {section.PREC!r}: ProGrad's gradients have no scaler; "
                "take fp32 or bf16"
            )
        if section.T <= 0:
            raise UserError(f"TRAINER.PROGRAD.T is {section.T}; take a temperature above 0")

    def build_model(self) -> None:
        self.hand_written = self.text_features()  # (C, D)
        self.learn_context(self.cfg.TRAINER.PROGRAD)

    def losses(self, input: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy, distillation loss and logits (B, C) of a batch."""
        images = self.image_features(input)
        logits = self.logits_of(images, self.class_features())
        teacher = self.logits_of(images, self.hand_written)
        kl = distillation(logits, teacher, self.cfg.TRAINER.PROGRAD.T)
        return F.cross_entropy(logits, label), kl, logits

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        input, label = self.parse_batch_train(batch)
        loss, kl, logits = self.losses(input, label)
        self.prograd_backward_and_update(loss, kl, self.cfg.TRAINER.PROGRAD.LAMBDA)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        accuracy = (logits.detach().argmax(dim=-1) == label).float().mean() * 100
        return {"loss": loss.detach(), "kl": kl.detach(), "acc": accuracy}
