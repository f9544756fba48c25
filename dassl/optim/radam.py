"""RAdam (Liu et al., ICLR 2020), arXiv:1908.03265, with upstream's decoupled weight decay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

__all__ = ["RAdam"]


class RAdam(Optimizer):
    """Adam whose adaptive step is rectified by the variance of its second moment.

    While the variance cannot be told yet (rho_t < 5) it takes plain momentum steps, or none with
    ``degenerated_to_sgd=False``.

    Args:
        params: parameters or groups.
        lr: learning rate.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled: the weights shrink by lr * weight_decay.
        degenerated_to_sgd: what to do while rho_t < 5.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        degenerated_to_sgd: bool = True,
    ) -> None:
        for name, value in (("learning rate", lr), ("epsilon", eps)):
            if value < 0.0:
                raise ValueError(f"Invalid {name}: {value}")
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"Invalid betas: {betas}")
        self.degenerated_to_sgd = degenerated_to_sgd
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2), lr = self.state[parameter], group["betas"], group["lr"]
        weight, grad = parameter.float(), parameter.grad.float()
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        state["step"] += 1
        first, second, t = state["exp_avg"], state["exp_avg_sq"], state["step"]
        first.mul_(beta1).add_(grad, alpha=1 - beta1)
        second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)

        rectification = self._rectification(t, beta2)
        if rectification is None and not self.degenerated_to_sgd:
            return
        if group["weight_decay"] != 0:
            weight = weight - group["weight_decay"] * lr * weight
        step_size = lr / (1 - beta1**t)
        if rectification is None:
            weight = weight.add(first, alpha=-step_size)
        else:
            step_size *= rectification * math.sqrt(1 - beta2**t)
            weight = weight.addcdiv(first, second.sqrt().add_(group["eps"]), value=-step_size)
        parameter.copy_(weight)

    @staticmethod
    def _rectification(t: int, beta2: float) -> float | None:
        """r_t of the paper's algorithm 2; None while rho_t < 5 (the paper says 4, upstream 5)."""
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        if rho < 5:
            return None
        ratio = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
        return math.sqrt(ratio)
