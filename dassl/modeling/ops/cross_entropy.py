"""Cross-entropy for labels that are distributions, with label smoothing."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    input: Tensor, target: Tensor, label_smooth: float = 0, reduction: str = "mean"
) -> Tensor:
    """Cross-entropy of logits (B, C).

    Args:
        input: logits.
        target: labels (B,), or distributions (B, C).
        label_smooth: share of the label that is spread over all classes.
        reduction: none gives (B, 1), sum, or mean over the batch.
    """
    num_classes = input.shape[1]
    log_prob = F.log_softmax(input, dim=1)
    if target.dim() == 1:
        target = F.one_hot(target.long(), num_classes)
    target = target.to(log_prob)
    if label_smooth > 0:
        target = (1 - label_smooth) * target + label_smooth / num_classes
    loss = -(target * log_prob).sum(1, keepdim=True)
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean()
    raise ValueError(f'reduction is "none", "sum" or "mean", not "{reduction}"')
