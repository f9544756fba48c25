"""Transferable normalisation (Wang et al., NeurIPS 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _TransNorm(nn.Module):
    """Batch norm apart for source and target, with channels weighted by how alike the domains are.

    While training the first half of a batch is the source and the second the target; at test time
    all is target.

    Args:
        num_features: channels.
        eps: added to variances.
        momentum: share of the OLD running statistics that is kept, as upstream has it.
        adaptive_alpha: weight channels.
    """

    dims: int
    running_mean_s: Tensor
    running_var_s: Tensor
    running_mean_t: Tensor
    running_var_t: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        adaptive_alpha: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.adaptive_alpha = adaptive_alpha
        for domain in ("s", "t"):
            self.register_buffer(f"running_mean_{domain}", torch.zeros(num_features))
            self.register_buffer(f"running_var_{domain}", torch.ones(num_features))
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    def reset_running_stats(self) -> None:
        for domain in ("s", "t"):
            getattr(self, f"running_mean_{domain}").zero_()
            getattr(self, f"running_var_{domain}").fill_(1)

    resnet_running_stats = reset_running_stats  # upstream's spelling

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def _channels(self, values: Tensor, like: Tensor) -> Tensor:
        return values.view(1, -1, *([1] * (like.dim() - 2)))

    def _alpha(self, mean_s: Tensor, var_s: Tensor, mean_t: Tensor, var_t: Tensor) -> Tensor:
        apart = mean_s / (var_s + self.eps).sqrt() - mean_t / (var_t + self.eps).sqrt()
        alike = 1 / (1 + apart.abs())
        return self.num_features * alike / alike.sum()

    def _normalise(self, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        mean, var = self._channels(mean, x), self._channels(var, x)
        normed = (x - mean) / (var + self.eps).sqrt()
        return normed * self._channels(self.weight, x) + self._channels(self.bias, x)

    def _statistics(self, x: Tensor, domain: str) -> tuple[Tensor, Tensor]:
        flat = x.transpose(0, 1).reshape(self.num_features, -1)
        mean, var = flat.mean(1), flat.var(1)
        for name, value in (("mean", mean), ("var", var)):
            running = getattr(self, f"running_{name}_{domain}")
            running.mul_(self.momentum).add_(value.detach(), alpha=1 - self.momentum)
        return mean, var

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != self.dims:
            raise ValueError(f"the input must have {self.dims} dimensions, not {input.dim()}")
        if self.training:
            source, target = input.split(len(input) // 2)
            statistics = [*self._statistics(source, "s"), *self._statistics(target, "t")]
            output = torch.cat(
                [
                    self._normalise(source, *statistics[:2]),
                    self._normalise(target, *statistics[2:]),
                ]
            )
        else:
            statistics = [
                self.running_mean_s,
                self.running_var_s,
                self.running_mean_t,
                self.running_var_t,
            ]
            output = self._normalise(input, *statistics[2:])
        if not self.adaptive_alpha:
            return output
        return (1 + self._channels(self._alpha(*statistics).detach(), input)) * output


class TransNorm1d(_TransNorm):
    """For features (B, C)."""

    dims = 2


class TransNorm2d(_TransNorm):
    """For maps (B, C, H, W)."""

    dims = 4
