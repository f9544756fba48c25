"""Gradients put together by hand."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def project_gradients(
    parameters: Iterable[nn.Parameter],
    others: Iterable[Tensor | None],
    strength: float = 1.0,
    opposing_only: bool = True,
) -> None:
    """Take out of each ``p.grad`` what opposes the other gradient of the same parameter.

    Args:
        parameters: changed in place; those without a gradient are left alone.
        others: gradients of the other loss in the same order, None where it has none.
        strength: share of the component that is taken out.
        opposing_only: False takes a component out that points along the other gradient too.
    """
    for parameter, other in zip(parameters, others, strict=True):
        if parameter.grad is None or other is None:
            continue
        norm = torch.linalg.vector_norm(other)
        direction = other / norm.clamp_min(torch.finfo(other.dtype).tiny)
        along = (parameter.grad * direction).sum()
        if opposing_only:
            along = along.clamp_max(0)  # instead of a branch: no wait for the device
        parameter.grad = parameter.grad - strength * along * direction
