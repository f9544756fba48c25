"""DAPD: dual alignment of prototypes and texts for cervical OCT. Reference code: rabbit-my/DAPD.

"Parameter-Efficient Adaptation of CLIP for Cervical OCT Diagnosis", published on SAVLT's three
hospitals. LoRA on q, k, v, o of both towers, and a prototype p_c of each class beside its text t_c:

    loss = 0.5 CE(s f.t) + 0.5 CE(s f.p) + 0.4 Sinkhorn(p/|p|, t)       CE with label smoothing 0.1
    inference: 0.5 s f.t + 0.5 s f.p

Sinkhorn is the debiased divergence of two clouds of C equal weights, cost |x - y|^2 / 2, blur 0.02.
Published: LoRA rank 4, alpha 1, dropout 0.25, scaled by alpha / sqrt(r); s 16 in the place of
CLIP's; AdamW, learning rate 1e-3, weight decay 1e-2, cosine to 1e-6, batch 32, 10 iterations a
shot; one description of each class. Prototypes start as random unit vectors, and their length
counts in the logits. The options name 0.8 for the text's share at inference and for Sinkhorn's
weight; the code reads neither and has 0.5 and 0.4, as here.
Differs from it: the test transform is deterministic (there random crops), shots follow the seed,
prompts are DATASET.PROMPT_SET's or the templates, and Sinkhorn's annealing starts at the diameter
of the unit sphere instead of the clouds' own.
Run: python train.py --trainer DAPD --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.families.adapted_towers import AdaptedTowers
from cerviclip.engine.iterations import ByIterations, iterations_per_shot
from cerviclip.vlm.learned.lora import apply_lora
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the published code but for PREC."""
    cfg.TRAINER.DAPD = section = CN()
    section.PREC = "fp32"  # published: fp16 autocast, here "amp"
    section.ITERS_PER_SHOT = 10  # iterations are this times the shots
    section.SCALE = 16.0  # of the logits; 0 takes the backbone's
    section.TEXT_WEIGHT = 0.5  # of the texts' cross-entropy
    section.PROTOTYPE_WEIGHT = 0.5  # of the prototypes' cross-entropy
    section.SMOOTHING = 0.1  # of the labels
    section.OT_WEIGHT = 0.4  # of the divergence between prototypes and texts
    section.BLUR = 0.02  # of the divergence
    section.ALPHA = 0.5  # share of the text logits at inference
    section.LORA = CN()
    section.LORA.TARGETS = ("q", "k", "v", "o")  # any of q, k, v, o, mlp
    section.LORA.R = 4
    section.LORA.ALPHA = 1.0  # over the root of R
    section.LORA.DROPOUT = 0.25


_DIAMETER = 2.0  # of the unit sphere


def sinkhorn_divergence(x: Tensor, y: Tensor, blur: float, steps_at_end: int = 8) -> Tensor:
    """Debiased entropic transport cost (scalar) of unit vectors (C, D) with equal weights.

    S = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2 with cost |x - y|^2 / 2 and temperature blur^2
    (Feydy et al., AISTATS 2019). The potentials are found by averaged updates, annealed from the
    diameter of the sphere by a factor of 2 in length; gradients pass the last update alone.

    Args:
        steps_at_end: updates at the final temperature.
    """
    pairs = ((x, y), (y, x), (x, x), (y, y))
    # At the optimum a cloud's own potential alone carries its gradient: the other side is fixed.
    cost = torch.stack([(a[:, None] - b.detach()).square().sum(-1) / 2 for a, b in pairs])
    halvings = max(0, math.ceil(math.log2(_DIAMETER / blur)))
    lengths = [_DIAMETER / 2**n for n in range(halvings)] + [blur] * steps_at_end

    def update(cost: Tensor, potentials: Tensor, temperature: float) -> Tensor:
        opposite = torch.stack([potentials[1], potentials[0], potentials[2], potentials[3]])
        scores = (opposite[:, None] - cost) / temperature - math.log(cost.shape[-1])
        return -temperature * scores.logsumexp(dim=-1)  # (4, C)

    with torch.no_grad():
        potentials = torch.zeros_like(cost[:, 0])
        for length in lengths:
            potentials = (potentials + update(cost, potentials, length**2)) / 2
    xy, yx, xx, yy = update(cost, potentials, blur**2)
    return (xy - xx).mean() + (yx - yy).mean()


class FreePrototypes(nn.Module):
    """One vector (D,) for each class, a random unit vector at the start; its length counts."""

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(num_classes, dim), dim=-1))


@TRAINER_REGISTRY.register()
class DAPD(ByIterations, AdaptedTowers):
    """DAPD: LoRA in both towers, and prototypes that are carried towards the class texts."""

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        section = cfg.TRAINER.DAPD
        for key in ("SCALE", "TEXT_WEIGHT", "PROTOTYPE_WEIGHT", "OT_WEIGHT"):
            if section[key] < 0:
                raise UserError(f"TRAINER.DAPD.{key} is {section[key]}; take 0 or more")
        for key in ("SMOOTHING", "ALPHA"):
            if not 0 <= section[key] <= 1:
                raise UserError(f"TRAINER.DAPD.{key} is {section[key]}; it lies between 0 and 1")
        if not 0 < section.BLUR <= _DIAMETER:
            raise UserError(f"TRAINER.DAPD.BLUR is {section.BLUR}; take a number from 0.001 to 2")

    def count_iterations(self) -> int:
        per_shot = self.cfg.TRAINER.DAPD.ITERS_PER_SHOT
        return iterations_per_shot(self.cfg, self.dm.dataset, per_shot)

    def build_model(self) -> None:
        cfg = self.cfg.TRAINER.DAPD
        lora = cfg.LORA
        visual, text = (
            apply_lora(
                *(tower, lora.TARGETS, None, lora.R),
                alpha=lora.ALPHA * math.sqrt(lora.R),  # apply_lora divides by R
                dropout=lora.DROPOUT,
            )
            for tower in (self.backbone.visual, self.backbone.text)
        )
        self.adapt(visual, text, "lora")
        self.prototypes = FreePrototypes(self.num_classes, self.backbone.embed_dim).to(self.device)
        self.register_learner("prototypes", self.prototypes)
        self.scale = self.backbone.scale if cfg.SCALE == 0 else cfg.SCALE

    def unit_class_features(self) -> Tensor:
        """Unit features (C, D), float32, of the classes' texts."""
        with self.precision.autocast():
            return self.class_features().float()

    def both_logits(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C) against the texts and against the prototypes."""
        prototypes = self.prototypes.weight
        return self.scale * images @ classes.t(), self.scale * images @ prototypes.t()

    def mix(self, text: Tensor, prototype: Tensor) -> Tensor:
        """The logits (B, C) of inference."""
        return torch.lerp(prototype, text, self.cfg.TRAINER.DAPD.ALPHA)

    def loss_and_logits(self, input: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        cfg = self.cfg.TRAINER.DAPD
        images, classes = self.encode_images(input), self.unit_class_features()
        text, prototype = self.both_logits(images, classes)
        loss = cfg.TEXT_WEIGHT * F.cross_entropy(text, label, label_smoothing=cfg.SMOOTHING)
        loss = loss + cfg.PROTOTYPE_WEIGHT * F.cross_entropy(
            prototype, label, label_smoothing=cfg.SMOOTHING
        )
        if cfg.OT_WEIGHT > 0:
            unit = F.normalize(self.prototypes.weight, dim=-1)
            loss = loss + cfg.OT_WEIGHT * sinkhorn_divergence(unit, classes, cfg.BLUR)
        return loss, self.mix(text, prototype)

    def classify(self, image_features: Tensor) -> Tensor:
        return self.mix(*self.both_logits(image_features, self.unit_class_features()))
