"""Small functions of semi-supervised and adaptation methods."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sharpen_prob(p: Tensor, temperature: float = 2) -> Tensor:
    """Probabilities (B, C) to the power of ``temperature``, normalised again."""
    p = p.pow(temperature)
    return p / p.sum(1, keepdim=True)


def entropy(p: Tensor) -> Tensor:
    """Entropies (B,) of probabilities (B, C), in nats."""
    return -(p * torch.log(p + 1e-5)).sum(1)


def reverse_index(data: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Both in reverse order."""
    return data.flip(0), label.flip(0)


def shuffle_index(data: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one random order."""
    index = torch.randperm(data.shape[0])
    moved = [index.to(tensor.device, non_blocking=True) for tensor in (data, label)]
    return data[moved[0]], label[moved[1]]


def create_onehot(label: Tensor, num_classes: int) -> Tensor:
    """Labels (B,) as one-hot rows (B, C) of floats, on the CPU."""
    onehot = torch.zeros(label.shape[0], num_classes)
    return onehot.scatter_(1, label.detach().cpu().unsqueeze(1), 1.0)


def sigmoid_rampup(current: float, rampup_length: int) -> float:
    """exp(-5 (1 - t)^2) for t from 0 to 1 over ``rampup_length`` steps, then 1."""
    if rampup_length <= 0:
        raise ValueError(f"rampup_length must be above 0, not {rampup_length}")
    rest = 1.0 - min(max(current, 0.0), rampup_length) / rampup_length
    return math.exp(-5.0 * rest * rest)


def linear_rampup(current: float, rampup_length: int) -> float:
    """From 0 to 1 over ``rampup_length`` steps, then 1."""
    if rampup_length <= 0:
        raise ValueError(f"rampup_length must be above 0, not {rampup_length}")
    return float(min(max(current / rampup_length, 0.0), 1.0))


@torch.no_grad()
def ema_model_update(model: nn.Module, ema_model: nn.Module, alpha: float) -> None:
    """Move ``ema_model``'s parameters towards ``model``'s: ``alpha`` old, ``1 - alpha`` new."""
    for average, parameter in zip(ema_model.parameters(), model.parameters(), strict=True):
        average.mul_(alpha).add_(parameter, alpha=1 - alpha)
