"""Running averages that training loops print."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch

__all__ = ["AverageMeter", "MetricMeter"]


class AverageMeter:
    """Last value and average of a number, as in ``losses.update(loss.item(), batch_size)``.

    Args:
        ema: exponential moving average (0.9 of the old one) instead of the plain mean.
    """

    def __init__(self, ema: bool = False) -> None:
        self.ema = ema
        self.reset()

    def reset(self) -> None:
        self.val: float = 0
        self.avg: float = 0
        self.sum: float = 0
        self.count: int = 0

    def update(self, val: float | torch.Tensor, n: int = 1) -> None:
        """Add ``val``, the mean over ``n`` items."""
        if isinstance(val, torch.Tensor):
            val = val.item()
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.avg * 0.9 + val * 0.1 if self.ema else self.sum / self.count


class MetricMeter:
    """One AverageMeter per name, printed as ``loss 1.2000 (1.3000) acc 50.0000 (45.0000)``."""

    def __init__(self, delimiter: str = " ") -> None:
        self.meters: defaultdict[str, AverageMeter] = defaultdict(AverageMeter)
        self.delimiter = delimiter

    def update(self, input_dict: dict[str, Any] | None) -> None:
        """Add every value of the dict; None adds nothing."""
        if input_dict is None:
            return
        if not isinstance(input_dict, dict):
            raise TypeError(
                "MetricMeter.update takes a dict of numbers (what forward_backward returns), "
                f"not a {type(input_dict).__name__}"
            )
        for name, value in input_dict.items():
            self.meters[name].update(value)

    def __str__(self) -> str:
        return self.delimiter.join(
            f"{name} {meter.val:.4f} ({meter.avg:.4f})" for name, meter in self.meters.items()
        )
