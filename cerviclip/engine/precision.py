"""One place for ``TRAINER.<NAME>.PREC``: fp32, fp16, amp or bf16."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

from dassl.errors import UserError

CHOICES = ("fp32", "fp16", "amp", "bf16")


class Precision:
    """What a precision name means on a device.

    fp32: everything in float32. fp16: the model itself in half precision. amp: float32 weights,
    autocast to float16 with a gradient scaler on CUDA (on CPU to bfloat16, which needs no scaler).
    bf16: float32 weights, autocast to bfloat16.

    Args:
        prec: one of the four names.
        device: where the model runs.
    """

    def __init__(self, prec: str, device: str | torch.device = "cpu") -> None:
        if prec not in CHOICES:
            raise UserError(f"PREC is {prec!r}; it takes one of {', '.join(CHOICES)}")
        self.prec = prec
        self.device = torch.device(device)
        self.scaler: torch.amp.GradScaler | None = None
        if prec == "amp" and self.device.type == "cuda":
            self.scaler = torch.amp.GradScaler("cuda")

    @property
    def model_dtype(self) -> torch.dtype:
        """The type that the model's weights are kept in."""
        return torch.float16 if self.prec == "fp16" else torch.float32

    def autocast(self) -> AbstractContextManager[object]:
        """Context for the forward pass; does nothing for fp32 and fp16."""
        if self.prec in ("fp32", "fp16"):
            return contextlib.nullcontext()
        half = self.prec == "amp" and self.device.type == "cuda"
        dtype = torch.float16 if half else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype)
