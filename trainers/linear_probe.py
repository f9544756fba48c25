"""Linear probe (Radford et al., ICML 2021, appendix A.3), arXiv:2103.00020. Reference: openai/CLIP.

Differs from it: the inverse penalty C is chosen on val by log-loss over a fixed grid (the paper's
binary search needs a large val), and features are standardised on the training set, which lets one
grid serve CLIP and CNN backbones. The fit is folded into one linear layer, saved like any network.
Run: python train.py --trainer LinearProbe --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.fit_once import FitOnce
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.heads.logistic import fit_linear
from cerviclip.vlm.heads.scores import val_scores
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method."""
    cfg.TRAINER.LINEARPROBE = CN()
    cfg.TRAINER.LINEARPROBE.PREC = "fp32"
    cfg.TRAINER.LINEARPROBE.C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # tried on val
    cfg.TRAINER.LINEARPROBE.C_DEFAULT = 0.01  # used where val is empty
    cfg.TRAINER.LINEARPROBE.SELECT = "log_loss"  # or "accuracy"
    cfg.TRAINER.LINEARPROBE.MAX_ITER = 2000  # Newton steps for each C


@TRAINER_REGISTRY.register()
class LinearProbe(FitOnce, VLMTrainer):
    """Linear probe: logistic regression on frozen image features, C chosen on val."""

    image_input = "features"
    needs_text = False

    def build_model(self) -> None:
        super().build_model()
        self.head = nn.Linear(self.backbone.embed_dim, self.num_classes).to(self.device)
        self.register_model("head", self.head)

    def candidates(self, grid: Sequence[float]) -> Iterator[tuple[dict[str, float], Tensor | None]]:
        """Hook: what is tried on val, each with every C: settings, and a factor (D,) on each
        standardised feature.

        Args:
            grid: inverse penalties; one alone where there is no val.
        """
        yield {}, None

    def fit(self) -> dict[str, float]:
        cfg = self.cfg.TRAINER.LINEARPROBE
        views, labels = self.split_features("train")  # (N, V, D), (N,)
        train_x, train_y = views.flatten(0, 1), labels.repeat_interleave(views.shape[1])
        val_x, val_y = self.split_features("val")
        grid = cfg.C_GRID if len(val_y) else (cfg.C_DEFAULT,)
        tried, fits = [], []
        for setting, scale in self.candidates(grid):
            tried += [{"C": c, **setting} for c in grid]
            fits += fit_linear(train_x, train_y, self.num_classes, grid, cfg.MAX_ITER, scale)
        best = 0
        if len(val_y):
            logits = torch.stack([F.linear(val_x[:, 0].cpu(), *fit) for fit in fits])
            best = self.choose_on_val(
                tried,
                *val_scores(logits, val_y.cpu()),
                by=cfg.SELECT,
            )
        self.head.load_state_dict({"weight": fits[best][0], "bias": fits[best][1]})
        accuracy, loss = val_scores(self.head(train_x), train_y)
        return {"loss": loss.item(), "acc": accuracy.item()}

    def model_inference(self, input: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.image_features(input)), dim=-1)
