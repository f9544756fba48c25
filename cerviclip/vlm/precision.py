"""One place for ``TRAINER.<NAME>.PREC``: fp32, fp16, amp or bf16.

| name | frozen matrices | products | gradient scaler |
|---|---|---|---|
| fp32 | float32 | float32 | no |
| fp16 | float16 | float16, on every device | yes |
| amp | float32 | float16 on CUDA, bfloat16 on a CPU | on CUDA |
| bf16 | bfloat16 | bfloat16 | no |

What learns is kept in float32 whatever the name says, and so are norms, losses and logits. A
network that learns as a whole has no frozen matrices: only its products change.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch

from dassl.errors import UserError

PRECISIONS = ("fp32", "fp16", "amp", "bf16")


def check_precision(prec: str, key: str = "precision") -> str:
    """The name itself.

    Raises:
        UserError: another name; ``key`` says what was set to it.
    """
    if prec not in PRECISIONS:
        raise UserError(f"{key} is {prec!r}; take one of {', '.join(PRECISIONS)}")
    return prec


def precision_of(cfg: Any) -> str:
    """``TRAINER.<NAME>.PREC`` of the trainer that a config names; fp32 where it has none.

    Raises:
        UserError: there is no such precision.
    """
    name = cfg.TRAINER.NAME.upper()
    section = getattr(cfg.TRAINER, name, None) if name else None
    return check_precision(getattr(section, "PREC", "fp32"), f"TRAINER.{name}.PREC")


def matrix_dtype(prec: str) -> torch.dtype | None:
    """The 16-bit type that frozen matrices are kept in; None for float32."""
    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(prec)


class Precision:
    """How a trainer computes: the context of its forward passes, and the scaler of its gradients.

    Args:
        prec: one of the four names.
        device: where the model runs.

    Attributes:
        scaler: keeps small gradients of float16 products from vanishing; None where not needed.
    """

    def __init__(self, prec: str, device: str | torch.device = "cpu") -> None:
        self.prec = check_precision(prec, "PREC")
        self.device = torch.device(device)
        self._dtype = self._product_dtype()
        self.scaler: torch.amp.GradScaler | None = None
        if self._dtype == torch.float16:
            self.scaler = torch.amp.GradScaler(self.device.type)

    def _product_dtype(self) -> torch.dtype | None:
        """The type of matrix products and convolutions; None for float32."""
        if self.prec == "amp":
            return torch.float16 if self.device.type == "cuda" else torch.bfloat16
        return matrix_dtype(self.prec)

    def autocast(self) -> AbstractContextManager[object]:
        """Context for the forward pass; does nothing for fp32."""
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self._dtype)
