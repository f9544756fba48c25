"""Fine-tuning of all weights with a classifier that starts at zero-shot (FullFineTune, WiSEFT)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cerviclip.engine.families.unfrozen import Unfrozen


class ClassifierFromTexts(nn.Linear):
    """A linear layer W f + b that starts at zero-shot: W = s t, b = 0.

    The factor s is within W, as in the reference code of WiSE-FT. A rate of the optimiser so means
    less to the classifier than to a W of unit rows.

    Args:
        class_features: t (C, D), unit rows.
        scale: s.
    """

    def __init__(self, class_features: Tensor, scale: Tensor) -> None:
        super().__init__(class_features.shape[1], len(class_features), device="meta")
        self.weight = nn.Parameter(scale * class_features)
        self.bias = nn.Parameter(torch.zeros_like(class_features[:, 0]))


class FineTuned(Unfrozen):
    """All weights learn, with cross-entropy.

    Where the text tower learns, its texts stay the classifier. Where it does not, the classifier is
    a linear layer that starts at the texts and learns with the vision tower.
    """

    kinds = ("all",)

    def build_model(self) -> None:
        super().build_model()
        self.head: ClassifierFromTexts | None = None
        if "text" not in self.learning:
            self.head = ClassifierFromTexts(self.class_features(), self.backbone.scale)
            self.register_learner("head", self.head)

    def classify(self, image_features: Tensor) -> Tensor:
        if self.head is None:
            return super().classify(image_features)
        return F.linear(image_features, *self.head_weights(self.head))

    def head_weights(self, head: ClassifierFromTexts) -> tuple[Tensor, Tensor]:
        """Hook: weight (C, D) and bias (C,) in use."""
        return head.weight, head.bias
