"""Gradient reversal (Ganin and Lempitsky, ICML 2015)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.autograd import Function


class _ReverseGrad(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scaling: float) -> Tensor:
        ctx.scaling = scaling
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.scaling * grad, None


class ReverseGrad(nn.Module):
    """Identity forward; backward the gradient times ``-grad_scaling``."""

    def forward(self, x: Tensor, grad_scaling: float = 1.0) -> Tensor:
        return _ReverseGrad.apply(x, grad_scaling)
