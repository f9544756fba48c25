"""ProLIP (Fahes et al., 2024), arXiv:2410.05270. Reference code: astra-vision/ProLIP.

The vision tower's last projection W learns and nothing else: logits s cos(W x, t_c) of what enters
it, x, and

    loss = CE + lambda |W - W_0|_F^2,   lambda = 1/k at k shots (the paper also has 1/k^2)

Published: Adam, eps 1e-4, learning rate 1e-5, cosine, 300 steps over all images, each step in one
of 300 stored views. A ResNet's projection is that of its attention pool; its bias stays frozen.
Differs from it: s is the backbone's (there 100), and each image draws its view by itself.
Run: python train.py --trainer ProLIP --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.iterations import count_as_shots
from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.learned.adapted import AdaptedTower, unfreeze
from cerviclip.vlm.projection import project, require_projection
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.PROLIP = CN()
    cfg.TRAINER.PROLIP.PREC = "fp32"
    cfg.TRAINER.PROLIP.WEIGHT = 1.0  # lambda is WEIGHT / shots ** POWER; 0 leaves W free
    cfg.TRAINER.PROLIP.POWER = 1.0  # 1 or 2 in the paper; 0 is one lambda for all shots


@TRAINER_REGISTRY.register()
class ProLIP(SupervisedStep, VLMTrainer):
    """ProLIP: the vision tower's last projection, held at what it was."""

    image_input = "unprojected"

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        for key in ("WEIGHT", "POWER"):
            if cfg.TRAINER.PROLIP[key] < 0:
                raise UserError(
                    f"TRAINER.PROLIP.{key} is {cfg.TRAINER.PROLIP[key]}; take 0 or more"
                )

    def build_backbone(self) -> None:
        """The backbone; refused at once where its vision tower ends otherwise."""
        super().build_backbone()
        require_projection(self.backbone.visual)

    def build_model(self) -> None:
        self.classifier = self.text_features()  # (C, D)
        self.visual = unfreeze(self.backbone.visual, ["projection"])
        self.projection = AdaptedTower(self.visual, self.backbone.weights_sha256)
        self.register_learner("projection", self.projection)
        self.weight = self.cfg.TRAINER.PROLIP.WEIGHT  # divided by the shots once they are known
        self.start = [p.detach().clone() for p in self.projection.parameters()]

    def prepare_fit(self) -> None:
        super().prepare_fit()
        cfg, shots = self.cfg.TRAINER.PROLIP, count_as_shots(self.cfg, self.dm.dataset)
        self.weight = cfg.WEIGHT / shots**cfg.POWER  # lambda

    def distance(self) -> Tensor:
        """|W - W_0|_F^2 (scalar)."""
        pairs = zip(self.projection.parameters(), self.start, strict=True)
        return sum((now - before).square().sum() for now, before in pairs)

    def model_inference(self, input: Tensor) -> Tensor:
        rows = self.rows_of(input) if input.dim() == 4 else input  # (B, W)
        with self.precision.autocast():
            features = project(self.visual, rows.to(self.device).float())
        images = F.normalize(features.float(), dim=-1)
        return self.backbone.scale * images @ self.classifier.t()

    def loss_and_logits(self, input: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model_inference(input)
        return F.cross_entropy(logits, label) + self.weight * self.distance(), logits
