"""Tip-Adapter and Tip-Adapter-F (Zhang et al., ECCV 2022), arXiv:2207.09519.

Reference code: gaopengcuhk/Tip-Adapter. Differs from it: the final model is the last one and alpha
and beta are searched on val only (the reference keeps the epoch that is best on the test set), ties
are broken by the log-loss, and where val is empty the published alpha = 1, beta = 5.5 are used.
Run: python train.py --trainer TipAdapterF --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.by_data import RowsByData
from cerviclip.engine.fit_once import FitOnce, choose_on_val, val_scores
from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, the same for both variants."""
    for name in ("TIPADAPTER", "TIPADAPTERF"):
        section = CN()
        section.PREC = "fp32"
        section.ALPHA = 1.0  # weight of the cache; the reference's init_alpha
        section.BETA = 5.5  # sharpness of the cache; the reference's init_beta
        section.SEARCH = True
        # Ranges (0.1 to the value) and numbers of steps of the search, as the reference's.
        section.SEARCH_ALPHA = (3.0, 20)
        section.SEARCH_BETA = (7.0, 200)
        cfg.TRAINER[name] = section


def cache_logits(affinity: Tensor, values: Tensor, beta: float | Tensor) -> Tensor:
    """exp(-beta (1 - affinity)) V, eq. 5: affinity (B, N) of queries and keys, values (N, C)."""
    return torch.exp(-beta * (1 - affinity)) @ values


def class_cache(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Keys (N, D): unit means of each image's views (N, V, D); values (N, C): one-hot labels."""
    keys = F.normalize(features.mean(1), dim=-1)
    return keys, F.one_hot(labels, num_classes).to(keys.dtype)


def search_grid(
    clip_logits: Tensor,
    affinity: Tensor,
    values: Tensor,
    labels: Tensor,
    alphas: Tensor,
    betas: Tensor,
) -> tuple[list[dict[str, float]], Tensor, Tensor]:
    """Val accuracy and log-loss of every (beta, alpha); one matrix product for each beta."""
    settings, accuracy, log_loss = [], [], []
    for beta in betas:
        cache = cache_logits(affinity, values, beta)
        scores = val_scores(clip_logits + alphas[:, None, None] * cache, labels)  # (A,), (A,)
        accuracy.append(scores[0])
        log_loss.append(scores[1])
        settings += [{"alpha": alpha, "beta": beta.item()} for alpha in alphas.tolist()]
    return settings, torch.cat(accuracy), torch.cat(log_loss)


class CacheHead(RowsByData):
    """The key-value cache of the support set; in Tip-Adapter-F the keys learn.

    Args:
        dim: D of the features.
        num_classes: C.
        alpha, beta: weight and sharpness of the cache.
    """

    rows_by_data = ("keys", "values")

    def __init__(self, dim: int, num_classes: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(0, dim))
        self.register_buffer("values", torch.empty(0, num_classes))
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.register_buffer("beta", torch.tensor(float(beta)))

    def affinity(self, image_features: Tensor) -> Tensor:
        return image_features @ self.keys.t()

    def forward(self, image_features: Tensor) -> Tensor:
        return self.alpha * cache_logits(self.affinity(image_features), self.values, self.beta)


class _CacheTrainer(VLMTrainer):
    """What both variants share: the cache, its logits and the search."""

    image_input = "features"

    def build_head(self) -> CacheHead:
        self.section = self.cfg.TRAINER[self.cfg.TRAINER.NAME.upper()]
        self.classifier = self.text_features()  # (C, D)
        sizes = self.backbone.embed_dim, self.num_classes
        return CacheHead(*sizes, self.section.ALPHA, self.section.BETA).to(self.device)

    def prepare_fit(self) -> None:
        super().prepare_fit()
        keys, values = class_cache(*self.split_features("train"), self.num_classes)
        self.head.set_rows(keys=keys, values=values)

    def clip_logits(self, features: Tensor) -> Tensor:
        return self.backbone.scale * features @ self.classifier.t()

    def model_inference(self, input: Tensor) -> Tensor:
        features = self.image_features(input)
        return self.clip_logits(features) + self.head(features)

    @torch.no_grad()
    def search(self) -> None:
        """Set alpha and beta to the best on val; without val the published ones stay."""
        views, labels = self.split_features("val")
        if not self.section.SEARCH or not len(labels):
            return
        alphas, betas = (
            torch.linspace(0.1, top, steps, device=self.device)
            for top, steps in (self.section.SEARCH_ALPHA, self.section.SEARCH_BETA)
        )
        features = views[:, 0]
        logits, affinity = self.clip_logits(features), self.head.affinity(features)
        settings, *scores = search_grid(logits, affinity, self.head.values, labels, alphas, betas)
        best, self.extra_results["search"] = choose_on_val(settings, *scores)
        self.head.alpha.fill_(settings[best]["alpha"])
        self.head.beta.fill_(settings[best]["beta"])


@TRAINER_REGISTRY.register()
class TipAdapter(FitOnce, _CacheTrainer):
    """Tip-Adapter: zero-shot logits plus a cache of the support set's features, no training."""

    def build_model(self) -> None:
        super().build_model()
        self.head = self.build_head()
        self.register_model("head", self.head)

    def fit(self) -> dict[str, float]:
        self.search()
        return {"alpha": self.head.alpha.item(), "beta": self.head.beta.item()}


@TRAINER_REGISTRY.register()
class TipAdapterF(SupervisedStep, _CacheTrainer):
    """Tip-Adapter-F: Tip-Adapter whose cache keys are fine-tuned."""

    def build_model(self) -> None:
        self.head = self.build_head()
        self.register_learner("head", self.head)

    def calibrate(self) -> None:
        self.search()
