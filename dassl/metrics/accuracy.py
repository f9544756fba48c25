"""Top-k accuracy of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def compute_accuracy(
    output: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor, topk: Sequence[int] = (1,)
) -> list[torch.Tensor]:
    """Share of images whose label is among the k highest scores, in percent.

    Args:
        output: (B, C) scores; of a list or tuple, the first is used.
        target: (B,) labels.
        topk: the values of k.

    Returns:
        One tensor of shape (1,) per k.
    """
    scores = output if isinstance(output, torch.Tensor) else output[0]
    ranked = scores.topk(max(topk), dim=1).indices  # (B, max k)
    hits = ranked.eq(target.view(-1, 1))
    return [hits[:, :k].any(dim=1).float().sum(0, keepdim=True) * 100.0 / len(target) for k in topk]
