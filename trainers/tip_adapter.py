"""Tip-Adapter and Tip-Adapter-F (Zhang et al., ECCV 2022), arXiv:2207.09519.

Reference code: gaopengcuhk/Tip-Adapter. Differs from it: the final model is the last one and alpha
and beta are searched on val only (the reference keeps the epoch that is best on the test set), ties
are broken by the log-loss, and where val is empty the paper's alpha = 1, beta = 5.5 are used (the
code starts from beta = 1 and alpha = 1.17 to 10, by data set). The ranges of the search are the
code's for ImageNet; for other data sets it has up to 50.
Run: python train.py --trainer TipAdapterF --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.fit_once import FitOnce
from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.cache import CacheHead, class_cache, search_grid
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, the same for both variants."""
    for name in ("TIPADAPTER", "TIPADAPTERF"):
        section = CN()
        section.PREC = "fp32"
        section.ALPHA = 1.0  # weight of the cache; the paper's
        section.BETA = 5.5  # sharpness of the cache; the paper's
        section.SEARCH = True
        # Ranges (0.1 to the value) and numbers of steps, the reference's for ImageNet.
        section.SEARCH_ALPHA = (3.0, 20)
        section.SEARCH_BETA = (7.0, 200)
        cfg.TRAINER[name] = section


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
        best = self.choose_on_val(settings, *scores)
        self.head.alpha.fill_(settings[best]["alpha"])
        self.head.beta.fill_(settings[best]["beta"])


@TRAINER_REGISTRY.register()
class TipAdapter(FitOnce, _CacheTrainer):
    """Tip-Adapter: zero-shot logits plus a cache of the support set's features, no training."""

    def build_model(self) -> None:
        super().build_model()
        self.head = self.build_head()
        self.head.requires_grad_(False)  # in closed form: no number is trained
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
