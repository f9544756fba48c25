"""FLYP: finetune like you pretrain (Goyal et al., CVPR 2023), arXiv:2212.00638.

Reference code: locuslab/FLYP. Every weight of both towers and the logit scale learn by the loss of
CLIP's pre-training, between the images of a batch and a prompt y_i of each one's class, drawn from
the class's prompts:

    loss = (CE(s F T^t, 1..B) + CE(s T F^t, 1..B)) / 2;   F, T (B, D) unit rows

Images of one class are each other's negatives, as in the paper (its section on class collisions
finds no gain in masking them), so the loss does not go to 0. Inference is zero-shot with the tuned
towers, over all prompts of a class.
Published: AdamW, rate 1e-5, weight decay 0.1 to 0.2, batch 512 (256), 10 to 20 epochs; few-shot
(PatchCamelyon) rate 1e-6, weight decay 0, all shots in one batch, the epoch chosen on as many val
images as shots. The yaml has batch 32 and takes the last epoch.
Run: python train.py --trainer FLYP --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.families.unfrozen import Unfrozen, add_unfrozen_keys
from cerviclip.vlm.prompts import encode_in_chunks
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError
from dassl.utils.batch_share import draw_rows, own_rows, whole_batch


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.FLYP = CN()
    add_unfrozen_keys(cfg.TRAINER.FLYP, encoder="both", iters_per_shot=0)


def contrastive_loss(logits: Tensor) -> Tensor:
    """Mean of both cross-entropies (scalar) of logits (B, B) whose diagonal holds the pairs."""
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.t(), pairs)) / 2


class Scale(nn.Module):
    """exp(logit_scale), learnt."""

    def __init__(self, logit_scale: Tensor) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(logit_scale.detach().clone())

    def forward(self) -> Tensor:
        return self.logit_scale.exp()


@TRAINER_REGISTRY.register()
class FLYP(Unfrozen):
    """FLYP: all weights of both towers, trained with CLIP's own contrastive loss."""

    kinds = ("all",)

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        if cfg.TRAINER.FLYP.ENCODER != "both":
            raise UserError(
                f"TRAINER.FLYP.ENCODER is {cfg.TRAINER.FLYP.ENCODER!r}; FLYP trains both towers. "
                "FullFineTune trains one"
            )

    def build_model(self) -> None:
        super().build_model()
        self.scale = Scale(self.backbone.logit_scale).to(self.device)
        self.register_learner("scale", self.scale)
        counts = torch.tensor([len(group) for group in self.class_texts()], device=self.device)
        self.counts, self.first = counts, counts.cumsum(0) - counts  # of each class's prompts

    def draw_prompts(self, label: Tensor) -> Tensor:
        """Numbers (B,) of prompts, one of each image's class."""
        share = draw_rows(len(label), torch.rand).to(label.device)
        return self.first[label] + (share * self.counts[label]).long()

    def prompt_features(self, chosen: Tensor) -> Tensor:
        """Unit features (B, D) of these prompts; where there are fewer prompts than images, each is
        encoded once."""
        tower, tokens = self.tower("text"), self.prompts.tokens
        few = len(tokens) <= len(chosen)
        tokens = tokens if few else tokens[chosen]
        with self.precision.autocast():
            features = encode_in_chunks(tower, tower.embed(tokens), tokens)
        features = F.normalize(features.float(), dim=-1)
        return features[chosen] if few else features

    def loss_and_logits(self, input: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and logits (B, C): of a class, that of its likeliest prompt in the batch."""
        images = self.unit_image_features(input)
        prompts = whole_batch(self.prompt_features(self.draw_prompts(label)))
        pairs = self.scale() * whole_batch(images) @ prompts.t()
        own = pairs.detach()[own_rows(len(label))]
        absent = own.new_full((len(label), self.num_classes), -torch.inf)
        of_class = whole_batch(label).expand(len(label), -1)
        return contrastive_loss(pairs), absent.scatter_reduce(1, of_class, own, "amax")

    def classify(self, image_features: Tensor) -> Tensor:
        with self.precision.autocast():
            classes = self.class_features()
        return self.scale() * image_features @ classes.t()
