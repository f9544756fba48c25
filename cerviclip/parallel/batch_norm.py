"""Batch norms whose statistics are those of the whole batch, whichever processes hold its images.

On GPUs torch's ``SyncBatchNorm`` does it, by kernels of its own; it has none for a CPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dassl.errors import UserError
from dassl.utils.batch_share import current_share, sum_over_batch


class _SharedStatistics:
    """Mixin before a batch norm's class: training on a part of a batch takes the whole batch's mean
    and variance, with their gradients."""

    def forward(self, x: Tensor) -> Tensor:
        share = current_share()
        if share is None or not self.training:  # type: ignore[attr-defined]
            return super().forward(x)  # type: ignore[misc]
        return _normalised(self, x, len(share.rows) / share.total)


def _normalised(norm: Any, x: Tensor, weight: float) -> Tensor:
    """``norm(x)`` with x (b, C, ...) a part of a batch of b / ``weight`` images."""
    norm._check_input_dim(x)
    dims = [d for d in range(x.ndim) if d != 1]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    count = x.numel() / x.shape[1] / weight
    if count < 1.5:
        raise ValueError("a batch norm needs more than one value of each channel to train on")
    wide = x if x.dtype == torch.float64 else x.float()
    mean = sum_over_batch(wide.sum(dims)) / count
    centred = wide - mean.view(shape)
    variance = sum_over_batch(centred.square().sum(dims)) / count
    _move_statistics(norm, mean.detach(), variance.detach() * count / (count - 1))
    factor = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        factor = factor * norm.weight
    out = centred * factor.view(shape)
    if norm.bias is not None:
        out = out + norm.bias.view(shape)
    return out.to(x.dtype)


@torch.no_grad()
def _move_statistics(norm: Any, mean: Tensor, variance: Tensor) -> None:
    if not norm.track_running_stats or norm.running_mean is None:
        return
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum
    if momentum is None:  # a plain mean over all batches
        momentum = 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), momentum)


@cache
def _shared_kind(kind: type) -> type:
    return type(
        f"Shared{kind.__name__}", (_SharedStatistics, kind), {"__module__": kind.__module__}
    )


def share_batch_norms(models: Iterable[nn.Module], device: torch.device) -> int:
    """Let the batch norms of these models see whole batches; parameters and names stay.

    Returns:
        How many there are.

    Raises:
        UserError: one of a kind that works in a way of its own.
    """
    found = 0
    for model in models:
        norms = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
        found += len(norms)
        for name, norm in norms.items():
            if type(norm).forward is _BatchNorm.forward:
                continue
            if not isinstance(norm, (_SharedStatistics, nn.SyncBatchNorm)):
                raise UserError(
                    f"{name} is a {type(norm).__name__}, whose statistics cannot be taken over the "
                    "images of several processes; start the run without torchrun, or take another "
                    "backbone"
                )
        if device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
            continue
        for norm in norms.values():
            if not isinstance(norm, _SharedStatistics):
                norm.__class__ = _shared_kind(type(norm))
    return found
