"""What the parts of a training loop ask of the trainer that they serve."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from torch import nn


class Trains(Protocol):
    """A trainer as its checkpoints, its log lines and its last good state see it."""

    epoch: int
    max_epoch: int
    batch_idx: int
    num_batches: int
    output_dir: str
    best_result: float
    precision: Any
    gradient_share: float | None
    _models: OrderedDict[str, nn.Module]
    _optims: OrderedDict[str, Any]
    _scheds: OrderedDict[str, Any]
    _averaged: Sequence[str]
    _history: list[dict[str, float]]
    _search: dict[str, dict[str, int]]
    extra_results: dict[str, Any]

    def get_model_names(self, names: str | Sequence[str] | None = None) -> list[str]: ...

    def get_current_lr(self, names: str | Sequence[str] | None = None) -> float: ...

    def save_model(
        self,
        epoch: int,
        directory: str,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None: ...

    def write_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None) -> None: ...

    def _check_losses(self) -> None: ...
