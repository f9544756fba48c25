"""APE, adaptive prior refinement (Zhu et al., ICCV 2023), arXiv:2304.01195.

Reference code: yangyangyang127/APE, of which this is the training-free method. Of the D channels
the Q best are kept by J = -w1 S + w2 V: S is the mean product of a channel over pairs of texts and
shots of different classes, V its variance over the texts. Logits are
s f't + alpha exp(-beta (1 - q'k)) (Y e^(gamma KL)): a cache of Tip-Adapter's form on refined,
again normalised channels, each of whose shots counts by the divergence KL of its label and what the
refined texts say of it. All settings are those of the code for ImageNet; it has others for each
data set. Differs from it: s is the backbone's (there 100); Q is at most half of D (there 500 of
1024); the search has fewer steps of beta and breaks ties by the log-loss.
Run: python train.py --trainer APE --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.fit_once import FitOnce
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.cache import CacheHead, class_cache, search_grid
from dassl.engine import TRAINER_REGISTRY


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method."""
    cfg.TRAINER.APE = CN()
    cfg.TRAINER.APE.PREC = "fp32"
    cfg.TRAINER.APE.CHANNELS = 500  # Q, at most half of D
    cfg.TRAINER.APE.WEIGHTS = (0.7, 0.3)  # of similarity and variance in the choice of channels
    cfg.TRAINER.APE.ALPHA = 2.0  # weight of the cache; alpha, beta, gamma: the code's init_*
    cfg.TRAINER.APE.BETA = 1.0  # its sharpness
    cfg.TRAINER.APE.GAMMA = 0.1  # how much a shot's divergence counts
    cfg.TRAINER.APE.SEARCH = True
    # Ranges and numbers of steps of the search: alpha and beta from 0.1, gamma from 0.
    cfg.TRAINER.APE.SEARCH_ALPHA = (7.0, 20)
    cfg.TRAINER.APE.SEARCH_BETA = (7.0, 40)  # the code: 200 steps
    cfg.TRAINER.APE.SEARCH_GAMMA = (0.5, 5)


def channel_scores(texts: Tensor, keys: Tensor, values: Tensor, weights: tuple) -> Tensor:
    """J (D,) of texts (C, D), shots (N, D) and their one-hot labels (N, C)."""
    sums, counts = texts + values.t() @ keys, 1 + values.sum(0)
    # Products over pairs of classes: those over all pairs less those within a class.
    pairs = counts.sum().square() - counts.square().sum()
    similarity = (sums.sum(0).square() - sums.square().sum(0)) / pairs
    return weights[1] * texts.var(0) - weights[0] * similarity


def label_divergence(keys: Tensor, texts: Tensor, values: Tensor) -> Tensor:
    """KL (N,), in bits, of one-hot labels (N, C) and the softmax of keys (N, Q) on texts (C, Q)."""
    said = (keys @ texts.t()).softmax(-1)
    return (values * torch.log2((values + 1e-6) / (said + 1e-6))).sum(-1)


class RefinedCache(CacheHead):
    """A cache of the chosen channels alone; ``values`` already hold the weights of the shots."""

    channels: Tensor

    def __init__(self, channels: int, num_classes: int, alpha: float, beta: float) -> None:
        super().__init__(channels, num_classes, alpha, beta)
        self.register_buffer("channels", torch.arange(channels))

    def refine(self, features: Tensor) -> Tensor:
        """Unit features (B, Q) of the chosen channels of features (B, D)."""
        return F.normalize(features[:, self.channels], dim=-1)

    def affinity(self, image_features: Tensor) -> Tensor:
        return super().affinity(self.refine(image_features))


@TRAINER_REGISTRY.register()
class APE(FitOnce, VLMTrainer):
    """APE: zero-shot logits plus a cache of the support set on the most telling channels."""

    image_input = "features"

    def build_model(self) -> None:
        super().build_model()
        cfg = self.cfg.TRAINER.APE
        self.classifier = self.text_features()  # (C, D)
        channels = min(cfg.CHANNELS, (self.backbone.embed_dim + 1) // 2)
        head = RefinedCache(channels, self.num_classes, cfg.ALPHA, cfg.BETA)
        self.head = head.to(self.device)
        self.head.requires_grad_(False)  # in closed form: no number is trained
        self.register_model("head", self.head)

    def fit(self) -> dict[str, float]:
        cfg, head = self.cfg.TRAINER.APE, self.head
        keys, labels = class_cache(
            *self.split_features("train"), self.num_classes
        )  # (N, D), (N, C)
        scores = channel_scores(self.classifier, keys, labels, cfg.WEIGHTS)
        head.channels.copy_(scores.topk(len(head.channels)).indices)
        refined = head.refine(keys)
        divergence = label_divergence(refined, head.refine(self.classifier), labels)
        head.set_rows(keys=refined, values=labels)
        gamma = self.search(divergence)
        head.set_rows(values=labels * (gamma * divergence).exp()[:, None])
        return {"alpha": head.alpha.item(), "beta": head.beta.item(), "gamma": gamma}

    def search(self, divergence: Tensor) -> float:
        """Set alpha and beta to the best on val and return its gamma; without val the defaults."""
        cfg, head = self.cfg.TRAINER.APE, self.head
        views, labels = self.split_features("val")
        if not cfg.SEARCH or not len(labels):
            return cfg.GAMMA
        logits, affinity = self.clip_logits(views[:, 0]), head.affinity(views[:, 0])
        alphas = torch.linspace(0.1, *cfg.SEARCH_ALPHA, device=self.device)
        betas = torch.linspace(0.1, *cfg.SEARCH_BETA, device=self.device)
        settings, scores = [], []
        for gamma in torch.linspace(0.0, *cfg.SEARCH_GAMMA).tolist():
            values = head.values * (gamma * divergence).exp()[:, None]
            found, *both = search_grid(logits, affinity, values, labels, alphas, betas)
            settings += [{**setting, "gamma": gamma} for setting in found]
            scores.append(both)
        accuracy, log_loss = (torch.cat(of_all) for of_all in zip(*scores, strict=True))
        best = self.choose_on_val(settings, accuracy, log_loss)
        head.alpha.fill_(settings[best]["alpha"])
        head.beta.fill_(settings[best]["beta"])
        return settings[best]["gamma"]

    def clip_logits(self, features: Tensor) -> Tensor:
        return self.backbone.scale * features @ self.classifier.t()

    def model_inference(self, input: Tensor) -> Tensor:
        features = self.image_features(input)
        return self.clip_logits(features) + self.head(features)
