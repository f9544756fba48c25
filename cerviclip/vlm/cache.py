"""Key-value cache of a support set, beside the class texts (Tip-Adapter: Zhang et al., 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cerviclip.vlm.heads.by_data import RowsByData
from cerviclip.vlm.heads.scores import val_scores


def cache_logits(affinity: Tensor, values: Tensor, beta: float | Tensor) -> Tensor:
    """exp(-beta (1 - affinity)) V, eq. 5: affinity (B, N) of queries and keys, values (N, C)."""
    return torch.exp(-beta * (1 - affinity)) @ values


def class_cache(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Keys (N, D): unit means of each image's views (N, V, D); values (N, C): one-hot labels."""
    keys = F.normalize(features.mean(1), dim=-1)
    return keys, F.one_hot(labels, num_classes).to(keys.dtype)


def search_grid(
    clip_logits: Tensor,
    affinity: Tensor,
    values: Tensor,
    labels: Tensor,
    alphas: Tensor,
    betas: Tensor,
) -> tuple[list[dict[str, float]], Tensor, Tensor]:
    """Val accuracy and log-loss of every (beta, alpha); one matrix product for each beta."""
    settings, accuracy, log_loss = [], [], []
    for beta in betas:
        cache = cache_logits(affinity, values, beta)
        scores = val_scores(clip_logits + alphas[:, None, None] * cache, labels)  # (A,), (A,)
        accuracy.append(scores[0])
        log_loss.append(scores[1])
        settings += [{"alpha": alpha, "beta": beta.item()} for alpha in alphas.tolist()]
    return settings, torch.cat(accuracy), torch.cat(log_loss)


class CacheHead(RowsByData):
    """The key-value cache of the support set, empty until ``set_rows``; in Tip-Adapter-F the keys
    learn.

    Args:
        dim: D of the features.
        num_classes: C.
        alpha: weight of the cache.
        beta: its sharpness.
    """

    rows_by_data = ("keys", "values")
    values: Tensor
    alpha: Tensor
    beta: Tensor

    def __init__(self, dim: int, num_classes: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(0, dim))
        self.register_buffer("values", torch.empty(0, num_classes))
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.register_buffer("beta", torch.tensor(float(beta)))

    def affinity(self, image_features: Tensor) -> Tensor:
        return image_features @ self.keys.t()

    def forward(self, image_features: Tensor) -> Tensor:
        return self.alpha * cache_logits(self.affinity(image_features), self.values, self.beta)
