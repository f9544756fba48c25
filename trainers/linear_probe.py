"""Linear probe (Radford et al., ICML 2021, appendix A.3), arXiv:2103.00020. Reference: openai/CLIP.

Differs from it: the inverse penalty C is chosen on val by log-loss over a fixed grid (the paper's
binary search needs a large val), and features are standardised on the training set, which lets one
grid serve CLIP and CNN backbones. The fit is folded into one linear layer, saved like any network.
Run: python train.py --trainer LinearProbe --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from dassl.engine import TRAINER_REGISTRY
from dassl.engine.fit_once import FitOnce, choose_on_val, val_scores
from dassl.engine.vlm_trainer import VLMTrainer


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method."""
    cfg.TRAINER.LINEARPROBE = CN()
    cfg.TRAINER.LINEARPROBE.PREC = "fp32"
    cfg.TRAINER.LINEARPROBE.C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # tried on val
    cfg.TRAINER.LINEARPROBE.C_DEFAULT = 0.01  # used where val is empty
    cfg.TRAINER.LINEARPROBE.SELECT = "log_loss"  # or "accuracy"
    cfg.TRAINER.LINEARPROBE.MAX_ITER = 2000


# A class that the training set lacks can never be predicted.
_ABSENT_BIAS = -1e4


def fit_logistic(
    features: np.ndarray, labels: np.ndarray, num_classes: int, c: float, max_iter: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """Multinomial logistic regression of features (N, D): weight (C, D), bias (C,) of a softmax."""
    from sklearn.linear_model import LogisticRegression

    weight = np.zeros((num_classes, features.shape[1]))
    bias = np.full(num_classes, _ABSENT_BIAS)
    present = np.unique(labels)
    if len(present) == 1:  # nothing to separate
        bias[present] = 0.0
        return weight, bias
    model = LogisticRegression(C=c, max_iter=max_iter).fit(features, labels)
    coef, intercept = model.coef_, model.intercept_
    if len(present) == 2:  # scikit-learn keeps one row: the second class against the first
        coef = np.concatenate([-coef, coef]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    weight[present], bias[present] = coef, intercept
    return weight, bias


def fit_linear(
    features: Tensor, labels: Tensor, num_classes: int, c: float, max_iter: int = 2000
) -> tuple[Tensor, Tensor]:
    """Logistic regression on standardised features, folded back into a layer on raw features."""
    x = features.double().cpu().numpy()
    mean, std = x.mean(0), x.std(0).clip(min=1e-6)
    weight, bias = fit_logistic((x - mean) / std, labels.cpu().numpy(), num_classes, c, max_iter)
    weight = weight / std
    return torch.from_numpy(weight).float(), torch.from_numpy(bias - weight @ mean).float()


@TRAINER_REGISTRY.register()
class LinearProbe(FitOnce, VLMTrainer):
    """Linear probe: logistic regression on frozen image features, C chosen on val."""

    image_input = "features"
    needs_text = False

    def build_model(self) -> None:
        super().build_model()
        self.head = nn.Linear(self.backbone.embed_dim, self.num_classes).to(self.device)
        self.register_model("head", self.head)

    def fit(self) -> dict[str, float]:
        cfg = self.cfg.TRAINER.LINEARPROBE
        views, labels = self.split_features("train")  # (N, V, D), (N,)
        train_x, train_y = views.flatten(0, 1), labels.repeat_interleave(views.shape[1])
        val_x, val_y = self.split_features("val")
        grid = cfg.C_GRID if len(val_y) else (cfg.C_DEFAULT,)
        fits = [fit_linear(train_x, train_y, self.num_classes, c, cfg.MAX_ITER) for c in grid]
        best = 0
        if len(val_y):
            logits = torch.stack([F.linear(val_x[:, 0].cpu(), *fit) for fit in fits])
            best, self.extra_results["search"] = choose_on_val(
                [{"C": c} for c in grid], *val_scores(logits, val_y.cpu()), by=cfg.SELECT
            )
        self.head.load_state_dict({"weight": fits[best][0], "bias": fits[best][1]})
        accuracy, loss = val_scores(self.head(train_x), train_y)
        return {"loss": loss.item(), "acc": accuracy.item()}

    def model_inference(self, input: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.image_features(input)), dim=-1)
