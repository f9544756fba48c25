"""LP++ (Huang et al., CVPR 2024), arXiv:2404.02285.

Reference code: FereshteShakeri/FewShot-CLIP-Strong-Baseline.
A linear probe beside the texts: logits = f'(w_c + alpha_c t_c) + b_c, cross-entropy, full batch.
Block coordinate descent with rates from the data: w by gradient (momentum 0.9) at
4 N / lambda_max(F'F), alpha every 10 epochs at N / (4 max_c sum_i (f_i't_c)^2). Starts: w_c is the
*sum* of the shots of c (the code's; the paper speaks of means), alpha the mean over c of
250/k sum_i f_i't_c. The best epoch on val is kept. Differs from the code: alpha steps by its
gradient of that epoch, as in the paper (the code never clears it, so it steps by the sum since the
first epoch); b starts at 0 (there at random); epochs of equal val accuracy are told apart by their
log-loss (there the last is kept); without val the last epoch stays.
Run: python train.py --trainer LPPlusPlus --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.fit_once import FitOnce
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.heads.prototypes import class_sums
from cerviclip.vlm.heads.scores import val_scores
from dassl.engine import TRAINER_REGISTRY

Weights = tuple[Tensor, Tensor, Tensor]  # w (C, D), b (C,), alpha (C,)


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, the code's."""
    cfg.TRAINER.LPPLUSPLUS = CN()
    cfg.TRAINER.LPPLUSPLUS.PREC = "fp32"
    cfg.TRAINER.LPPLUSPLUS.EPOCHS = 300  # full-batch steps
    cfg.TRAINER.LPPLUSPLUS.ALPHA_EVERY = 10  # epochs between two steps of alpha
    # Times the mean cosine of shots and their texts: near 70 for CLIP, whose logit scale is 100.
    # With a backbone of a smaller scale the texts count for more than in zero-shot.
    cfg.TRAINER.LPPLUSPLUS.ALPHA_START = 250.0


def start_weights(x: Tensor, labels: Tensor, texts: Tensor, alpha_start: float) -> Weights:
    """w, b and alpha before the first step, of features (N, D), labels (N,) and texts (C, D)."""
    sums, counts = class_sums(x, labels, len(texts))
    cosines = (sums * texts).sum(-1) / counts.clamp(min=1)
    alpha = alpha_start * cosines.sum() / (counts > 0).sum()
    return sums, torch.zeros_like(counts), alpha.expand(len(texts)).clone()


def descend(
    x: Tensor, labels: Tensor, texts: Tensor, start: Weights, epochs: int, alpha_every: int
) -> Iterator[Weights]:
    """The weights after each epoch of block coordinate descent from ``start``."""
    (weight, bias, alpha), count = start, len(x)
    cosines = x @ texts.t()  # (N, C)
    rate_w = 4 * count / torch.linalg.eigvalsh(x.t() @ x)[-1]
    rate_alpha = count / (4 * cosines.square().sum(0).max())
    speed_w, speed_b = torch.zeros_like(weight), torch.zeros_like(bias)
    targets = F.one_hot(labels, len(texts))
    for epoch in range(1, epochs + 1):
        logits = x @ weight.t() + bias + alpha * cosines
        error = (logits.softmax(-1) - targets) / count  # gradient of the mean cross-entropy
        speed_w = 0.9 * speed_w + error.t() @ x
        speed_b = 0.9 * speed_b + error.sum(0)
        weight, bias = weight - rate_w * speed_w, bias - rate_w * speed_b
        if epoch % alpha_every == 0:
            alpha = alpha - rate_alpha * (error * cosines).sum(0)
        yield weight, bias, alpha


class BlendedProbe(nn.Module):
    """f'(w_c + alpha_c t_c) + b_c; alpha is the logit scale and w is 0 until the fit."""

    alpha: Tensor

    def __init__(self, texts: Tensor, scale: float) -> None:
        super().__init__()
        self.texts = texts
        self.linear = nn.Linear(texts.shape[1], len(texts))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("alpha", torch.full((len(texts),), float(scale)))

    def set(self, weight: Tensor, bias: Tensor, alpha: Tensor) -> None:
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)
        self.alpha.copy_(alpha)

    def forward(self, image_features: Tensor) -> Tensor:
        return self.linear(image_features) + self.alpha * (image_features @ self.texts.t())


@TRAINER_REGISTRY.register()
class LPPlusPlus(FitOnce, VLMTrainer):
    """LP++: a linear probe that blends in each class's text, with rates from the data."""

    image_input = "features"

    def build_model(self) -> None:
        super().build_model()
        self.head = BlendedProbe(self.text_features(), self.backbone.scale).to(self.device)
        self.register_model("head", self.head)

    def fit(self) -> dict[str, float]:
        cfg = self.cfg.TRAINER.LPPLUSPLUS
        views, labels = self.split_features("train")  # (N, V, D), (N,)
        rows = views.flatten(0, 1), labels.repeat_interleave(views.shape[1])
        start = start_weights(*rows, self.head.texts, cfg.ALPHA_START)
        schedule = cfg.EPOCHS, cfg.ALPHA_EVERY
        epochs = [start, *descend(*rows, self.head.texts, start, *schedule)]
        self.head.set(*epochs[self.best_epoch(epochs)])
        accuracy, loss = val_scores(self.head(rows[0]), rows[1])
        return {"loss": loss.item(), "acc": accuracy.item()}

    def best_epoch(self, epochs: list[Weights]) -> int:
        """Its number by accuracy on val; the last without val."""
        views, labels = self.split_features("val")
        if not len(labels):
            return len(epochs) - 1
        logits = []
        for weights in epochs:
            self.head.set(*weights)
            logits.append(self.head(views[:, 0]))
        tried = [{"epoch": float(i)} for i in range(len(epochs))]
        scores = val_scores(torch.stack(logits), labels)
        best = self.choose_on_val(tried, *scores)
        return best

    def model_inference(self, input: Tensor) -> Tensor:
        return self.head(self.image_features(input))
