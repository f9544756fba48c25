"""BiomedCoOp (Koleilat et al., CVPR 2025), arXiv:2411.15232. Reference code:
HealthX-Lab/BiomedCoOp.

CoOp that distils descriptions of the classes, written by a language model (50 for each class in the
paper). With w_c the learned class features, t_cp the feature of description p of class c:

    loss = CE + SCCM mean over c, d of (w_cd - t_cd)^2 + KDSP KL(p_zs || p)

where t_c is the unit mean over p, and p_zs are probabilities of the descriptions that are kept: p's
score s_p is the batch's mean of its largest logit, and it stays where
|s_p - median(s)| <= TAU median(|s - median(s)|).

Published: 4 context vectors from "a photo of a", TAU 1.5, SGD, learning rate 0.0025, batch 4, 100
epochs, fp32. SCCM and KDSP are 0.25 to 20 there, by data set; one setting for all is the default
here, 1 and 1 as in the code's defaults. The code standardises the scores once more by their mean
and deviation, which undoes median and MAD; the rule here is the one in the paper. The KL is the
mean over images and classes.
Differs from it: descriptions are the data set's own (all sets of DATASET.DESCRIPTIONS, or the one
that DATASET.PROMPT_SET names). Where classes have unequal numbers, the shorter lists are repeated.
Run: python train.py --trainer BiomedCoOp --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.families.learned_context import LearnedContext, add_context_keys
from cerviclip.vlm.learned.teaching import mean_divergence
from cerviclip.vlm.prompts import class_texts
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError
from dassl.utils.batch_share import whole_batch


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the reference code."""
    cfg.TRAINER.BIOMEDCOOP = CN()
    add_context_keys(cfg.TRAINER.BIOMEDCOOP, n_ctx=4, ctx_init="a photo of a")
    cfg.TRAINER.BIOMEDCOOP.SCCM = 1.0  # weight of the distance to the descriptions' mean
    cfg.TRAINER.BIOMEDCOOP.KDSP = 1.0  # weight of the KL to the kept descriptions
    cfg.TRAINER.BIOMEDCOOP.TAU = 1.5  # median deviations within which a description is kept


def kept_prompts(scores: Tensor, tau: float) -> Tensor:
    """Which descriptions (P,) are kept by their scores (P,); 1 or 0. Their median always is."""
    away = (scores - scores.median()).abs()
    return (away <= tau * away.median()).to(scores.dtype)


def select(images: Tensor, prompts: Tensor, scale: Tensor, tau: float) -> Tensor:
    """Unit class features (C, D) of the descriptions that this batch keeps.

    Args:
        images: (B, D), unit.
        prompts: (C, P, D), unit.
        scale: of the logits.
        tau: see ``kept_prompts``.
    """
    logits = scale * torch.einsum("bd,cpd->bcp", images, prompts)
    keep = kept_prompts(logits.amax(dim=1).mean(dim=0), tau)
    return F.normalize((keep[:, None] * prompts).sum(dim=1), dim=-1)


@TRAINER_REGISTRY.register()
class BiomedCoOp(LearnedContext):
    """BiomedCoOp: a learned context held near descriptions of the classes."""

    def build_model(self) -> None:
        texts = self.descriptions()
        self.described = self.text_features(texts)  # (C, D)
        self.prompts = self._each_description(texts)  # (C, P, D)
        self.learn_context(self.cfg.TRAINER.BIOMEDCOOP)

    def descriptions(self) -> list[list[str]]:
        """The descriptions of each class.

        Raises:
            UserError: there are none, or none of a class.
        """
        sets, names = self.task.descriptions, self.task.classnames
        if self.cfg.DATASET.PROMPT_SET:
            return self.class_texts()
        if not sets:
            raise UserError(
                f"no description of class {names[0]!r}: BiomedCoOp needs some of each "
                f"class and {self.cfg.DATASET.NAME} has none; give a file by DATASET.DESCRIPTIONS"
            )
        joined = {name: [t for of in sets.values() for t in of.get(name, ())] for name in names}
        return class_texts(names, descriptions=joined)

    def _each_description(self, texts: list[list[str]]) -> Tensor:
        longest = max(len(group) for group in texts)
        flat = [group[i % len(group)] for group in texts for i in range(longest)]
        unique = list(dict.fromkeys(flat))
        row = {text: i for i, text in enumerate(unique)}
        features = self.text_features([[text] for text in unique])
        return features[[row[text] for text in flat]].unflatten(0, (len(texts), longest))

    def loss_and_logits(self, input: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        cfg = self.cfg.TRAINER.BIOMEDCOOP
        images, classes = self.image_features(input), self.class_features()
        logits = self.logits_of(images, classes)
        kept = select(whole_batch(images), self.prompts, self.backbone.scale, cfg.TAU)
        teacher = self.logits_of(images, kept)
        sccm = F.mse_loss(classes, self.described)
        kdsp = mean_divergence(logits, teacher)
        return F.cross_entropy(logits, label) + cfg.SCCM * sccm + cfg.KDSP * kdsp, logits
