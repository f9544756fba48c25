"""What every evaluator does."""

from __future__ import annotations

from collections import OrderedDict

import torch
from yacs.config import CfgNode


class EvaluatorBase:
    """Gathers model outputs batch by batch, then evaluates them all."""

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg = cfg

    def reset(self) -> None:
        raise NotImplementedError

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        raise NotImplementedError

    def evaluate(self) -> OrderedDict[str, float]:
        raise NotImplementedError
