"""What settings are chosen by: accuracy and log-loss of logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def val_scores(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Accuracy in percent and log-loss in nats of logits (..., B, C), for each leading index."""
    accuracy = (logits.argmax(-1) == labels).float().mean(-1) * 100
    log_probs = F.log_softmax(logits.float(), dim=-1)
    index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    return accuracy, -log_probs.gather(-1, index).squeeze(-1).mean(-1)
