"""AdaBN (Li et al., 2016), arXiv:1603.04779: batch-norm statistics taken anew from the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.trainer import TrainerXU
from dassl.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode


@TRAINER_REGISTRY.register()
class AdaBN(TrainerXU):
    """Weights come from ``MODEL.INIT_WEIGHTS`` and stay; only batch norms see target images."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.done_reset_bn_stats = False

    def check_cfg(self, cfg: CfgNode) -> None:
        if not cfg.MODEL.INIT_WEIGHTS:
            raise UserError("AdaBN adapts a trained model: name its checkpoint, MODEL.INIT_WEIGHTS")

    def before_epoch(self) -> None:
        if not self.done_reset_bn_stats:
            for module in self.model.modules():
                if "BatchNorm" in type(module).__name__:
                    cast(Any, module).reset_running_stats()
            self.done_reset_bn_stats = True

    @torch.no_grad()
    def forward_backward(self, batch_x: dict[str, Any], batch_u: dict[str, Any]) -> None:
        self.model(self._to_device(batch_u["img"]))
