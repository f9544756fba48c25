"""TransCLIP (Zanella et al., NeurIPS 2024), arXiv:2406.01837: predicts a test set as a whole.

Transductive. A Gaussian mixture is fitted to the queries f_i, held by zero-shot's y_i = softmax(s
f_i't) and the shots: z_i ~ y_i^lambda exp(a g_i + b sum_j (w_ij + w_ji) z_j), with
g_ic = -(f_i - mu_c)' S^-1 (f_i - mu_c) / 2, w the similarities to the 3 nearest queries, shots' z
their labels. mu_c and the diagonal S, shared by all classes, are means over the queries weighted by
z / |Q| and the shots by 50 gamma / |S|, mu_c of unit length. Starts: z = y, mu of the shots, S =
1/D. 10 rounds of 5 steps of z; a = 1/50, b = 1/6, lambda 0.5 as in the code (zero-shot: 1, no
shots, mu of the 8 surest queries of each class). Reference: MaxZanella/transduction-for-vlms, where
gamma is chosen by the queries next to val images and one gamma goes on from the last one's z. Here
gamma is chosen once, with val as the queries, and each starts anew; a shot has its 3 nearest
queries (there the second to fourth, and rows of w begin with the shots while those of z end with
them, so that labels go to other neighbours); s is the backbone's, there 100.
Run: python train.py --trainer TransCLIP --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.families.transductive import Transductive
from cerviclip.engine.fit_once import FitOnce
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.cache import class_cache
from cerviclip.vlm.heads.by_data import RowsByData
from cerviclip.vlm.heads.neighbours import NearestQueries
from cerviclip.vlm.heads.scores import val_scores
from dassl.engine import TRAINER_REGISTRY

SHOT_FACTOR = 50  # of gamma, as the code has it


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of both variants, those of the code."""
    for name, text_weight in (("TRANSCLIP", 0.5), ("TRANSCLIPZS", 1.0)):
        section = CN()
        section.PREC = "fp32"
        section.LAMBDA = text_weight  # power of zero-shot's probabilities
        section.LIKELIHOOD = 1 / 50  # a
        section.GRAPH = 1 / 6  # b
        section.NEIGHBOURS = 3
        section.ROUNDS = 10  # 0: one update of z alone
        section.STEPS = 5  # of z in each round
        cfg.TRAINER[name] = section
    cfg.TRAINER.TRANSCLIP.GAMMA = 0.02  # weight of the shots where val is empty
    cfg.TRAINER.TRANSCLIP.SEARCH_GAMMA = (0.002, 0.01, 0.02, 0.2)  # tried on val
    cfg.TRAINER.TRANSCLIPZS.CONFIDENT = 8  # queries of each class that mu starts from


def log_likelihood(x: Tensor, mu: Tensor, variance: Tensor) -> Tensor:
    """g (Q, C) without its constant: queries (Q, D), means (C, D), variances (D,)."""
    squares = (x * x / variance).sum(-1, keepdim=True) + (mu * mu / variance).sum(-1)
    return -(squares - 2 * x @ (mu / variance).t()) / 2


def class_means(x: Tensor, weights: Tensor) -> Tensor:
    """Unit means (C, D) of rows (N, D) weighted by (N, C)."""
    return F.normalize(weights.t() @ x, dim=-1)


def shared_variance(x: Tensor, weights: Tensor, mu: Tensor) -> Tensor:
    """(D,) mean of (x - mu_c)^2 over rows (N, D) and classes, weighted by (N, C)."""
    total = weights.sum(-1) @ x.square() - 2 * ((weights.t() @ x) * mu).sum(0)
    total = total + weights.sum(0) @ mu.square()
    return (total / weights.sum()).clamp(min=1e-9)


def transclip(
    queries: Tensor, start: Tensor, mu: Tensor, shots: Tensor, values: Tensor, gamma: float, cfg: CN
) -> Tensor:
    """z (Q, C), float64, of queries (Q, D) that zero-shot gives the probabilities ``start`` (Q, C).

    Args:
        mu: (C, D) first means.
        shots: (S, D), S may be 0.
        values: (S, C) one-hot labels.
        cfg: the section of the config.
    """
    x, y, mu, shots, values = (v.double() for v in (queries, start, mu, shots, values))
    prior = cfg.LAMBDA * y.clamp(min=1e-300).log()
    graph = NearestQueries(x, shots, values, cfg.NEIGHBOURS)
    variance = torch.full_like(x[0], 1 / x.shape[1])
    every = torch.cat([x, shots])
    held = SHOT_FACTOR * gamma / max(1, len(shots)) * values
    z = y
    for step in range(cfg.ROUNDS + 1):
        fit = prior + cfg.LIKELIHOOD * log_likelihood(x, mu, variance)
        for _ in range(cfg.STEPS):
            z = (fit + cfg.GRAPH * graph.sums(z)).softmax(dim=-1)
        if step < cfg.ROUNDS:
            weights = torch.cat([z / len(x), held])
            mu = class_means(every, weights)
            variance = shared_variance(every, weights, mu)
    return z


class Shots(RowsByData):
    """The support set, empty until ``set_rows``, and gamma."""

    rows_by_data = ("keys", "values")
    keys: Tensor
    values: Tensor
    gamma: Tensor

    def __init__(self, dim: int, num_classes: int, gamma: float) -> None:
        super().__init__()
        self.register_buffer("keys", torch.empty(0, dim))
        self.register_buffer("values", torch.empty(0, num_classes))
        self.register_buffer("gamma", torch.tensor(float(gamma)))


class _ZeroShotStart(Transductive, VLMTrainer):
    """What both variants share: zero-shot's logits."""

    image_input = "features"

    def model_inference(self, input: Tensor) -> Tensor:
        return self.clip_logits(self.image_features(input))

    def clip_logits(self, features: Tensor) -> Tensor:
        return self.backbone.scale * features @ self.classifier.t()


@TRAINER_REGISTRY.register()
class TransCLIP(FitOnce, _ZeroShotStart):
    """TransCLIP-FS: zero-shot, the shots and the whole unlabelled test set together."""

    def build_model(self) -> None:
        super().build_model()
        self.classifier = self.text_features()  # (C, D)
        sizes = self.backbone.embed_dim, self.num_classes
        self.head = Shots(*sizes, self.cfg.TRAINER.TRANSCLIP.GAMMA).to(self.device)
        self.register_model("head", self.head)

    def prepare_fit(self) -> None:
        super().prepare_fit()
        keys, values = class_cache(*self.split_features("train"), self.num_classes)
        self.head.set_rows(keys=keys, values=values)

    def fit(self) -> dict[str, float]:
        tried = self.cfg.TRAINER.TRANSCLIP.SEARCH_GAMMA
        views, labels = self.split_features("val")
        if len(labels) and len(tried):
            logits = torch.stack([self.transduce(views[:, 0], gamma).log() for gamma in tried])
            settings = [{"gamma": gamma} for gamma in tried]
            best = self.choose_on_val(settings, *val_scores(logits, labels))
            self.head.gamma.fill_(tried[best])
        return {"gamma": self.head.gamma.item()}

    def transduce(self, features: Tensor, gamma: float | None = None) -> Tensor:
        start, head = self.clip_logits(features).softmax(dim=-1), self.head
        mu = class_means(head.keys, head.values)
        absent = head.values.sum(0) == 0  # no shots: the mean that zero-shot expects
        mu = torch.where(absent[:, None], class_means(features, start), mu)
        gamma = head.gamma.item() if gamma is None else gamma
        section = self.cfg.TRAINER.TRANSCLIP
        return transclip(features, start, mu, head.keys, head.values, gamma, section)


@TRAINER_REGISTRY.register()
class TransCLIPZS(_ZeroShotStart):
    """TransCLIP-ZS: zero-shot and the whole unlabelled test set together, no shots."""

    learns = "nothing"
    needs_training = False

    def build_model(self) -> None:
        self.max_epoch = 0  # nothing to train
        self.classifier = self.text_features()  # (C, D)

    def transduce(self, features: Tensor) -> Tensor:
        section = self.cfg.TRAINER.TRANSCLIPZS
        start = self.clip_logits(features).softmax(dim=-1)
        surest = start.topk(min(section.CONFIDENT, len(start)), dim=0)
        mu = class_means(
            features, torch.zeros_like(start).scatter(0, surest.indices, surest.values)
        )
        none = features[:0], start[:0]
        return transclip(features, start, mu, *none, 0.0, section)
