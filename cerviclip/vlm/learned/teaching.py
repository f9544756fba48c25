"""How far what learns is from what is frozen: losses that prompt learners share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mean_cosine_distance(learned: Tensor, frozen: Tensor) -> Tensor:
    """Mean of 1 - cosine (scalar) of unit features (C, D), row by row."""
    return 1 - (learned * frozen).sum(dim=-1).mean()


def mean_divergence(logits: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || model) (scalar) of logits (B, C), divided by B and by C.

    PromptSRC and BiomedCoOp divide by both, and their weights belong to that.
    """
    p, p0 = logits.log_softmax(dim=-1), teacher.log_softmax(dim=-1)
    return F.kl_div(p, p0, reduction="sum", log_target=True) / logits.numel()
