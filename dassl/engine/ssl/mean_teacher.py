"""Mean Teacher (Tarvainen and Valpola, NeurIPS 2017), arXiv:1703.01780."""

from __future__ import annotations

import copy
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from dassl.engine.build import TRAINER_REGISTRY
from dassl.engine.trainer import TrainerXU
from dassl.metrics import compute_accuracy
from dassl.modeling.ops import ema_model_update, sigmoid_rampup

if TYPE_CHECKING:
    from yacs.config import CfgNode


@TRAINER_REGISTRY.register()
class MeanTeacher(TrainerXU):
    """Agree, on unlabelled images, with a running average of one's own weights."""

    _averaged = ("teacher",)

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.weight_u = cfg.TRAINER.MEANTEACHER.WEIGHT_U
        self.ema_alpha = cfg.TRAINER.MEANTEACHER.EMA_ALPHA
        self.rampup = cfg.TRAINER.MEANTEACHER.RAMPUP  # epochs

    def build_model(self) -> None:
        super().build_model()
        self.teacher = copy.deepcopy(self.model).requires_grad_(False)
        # Upstream does not register it, so that its runs cannot be continued exactly.
        self.register_model("teacher", self.teacher)

    def resume_model_if_exist(self, directory: str) -> int:
        with self._teacher_where_there_is_one(directory):
            return super().resume_model_if_exist(directory)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        with self._teacher_where_there_is_one(directory):
            super().load_model(directory, epoch)

    @contextmanager
    def _teacher_where_there_is_one(self, directory: str) -> Iterator[None]:
        """From a run of upstream's, which saved none, the teacher is the student's copy."""
        there = [bool(directory) and osp.isdir(osp.join(directory, n)) for n in self._models]
        if there != [True, False]:
            yield
            return
        print(f"No teacher at {directory}, it starts as a copy of the model")
        teacher = self._models.pop("teacher")
        try:
            yield
        finally:
            self._models["teacher"] = teacher
        teacher.load_state_dict(self.model.state_dict())

    def forward_backward(self, batch_x: dict[str, Any], batch_u: dict[str, Any]) -> dict[str, Any]:
        input_x, label_x, input_u = self.parse_batch_train(batch_x, batch_u)
        logit_x = self.model(input_x)
        loss_x = F.cross_entropy(logit_x, label_x)
        with torch.no_grad():
            target = F.softmax(self.teacher(input_u), 1)
        loss_u = (F.softmax(self.model(input_u), 1) - target).square().sum(1).mean()
        weight = self.weight_u * sigmoid_rampup(self.epoch, self.rampup)
        self.model_backward_and_update(loss_x + loss_u * weight)

        step = self.batch_idx + self.epoch * self.num_batches
        # A plain mean over the first steps, so that the random start is soon forgotten.
        ema_model_update(self.model, self.teacher, min(1 - 1 / (step + 1), self.ema_alpha))

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {
            "loss_x": loss_x.detach(),
            "acc_x": compute_accuracy(logit_x, label_x)[0],
            "loss_u": loss_u.detach(),
        }
