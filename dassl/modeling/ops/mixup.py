"""Mixup (Zhang et al., ICLR 2018)."""

from __future__ import annotations

import torch
from torch import Tensor


def mixup(
    x1: Tensor, x2: Tensor, y1: Tensor, y2: Tensor, beta: float, preserve_order: bool = False
) -> tuple[Tensor, Tensor]:
    """Mix two batches image by image.

    Args:
        x1: images (B, C, H, W).
        x2: images (B, C, H, W).
        y1: label distributions (B, C) of ``x1``.
        y2: label distributions (B, C) of ``x2``.
        beta: both parameters of the Beta distribution.
        preserve_order: the mixture stays nearer to ``x1`` (MixMatch).

    Returns:
        Mixed images and labels.
    """
    share = torch.distributions.Beta(beta, beta).sample((x1.shape[0], 1, 1, 1))
    if preserve_order:
        share = torch.max(share, 1 - share)
    share_x = share.to(x1, non_blocking=True)
    share_y = share.view(-1, 1).to(y1, non_blocking=True)
    return x1 * share_x + x2 * (1 - share_x), y1 * share_y + y2 * (1 - share_y)
