"""The base of methods that learn something within both towers and compare what they give."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.base import TextTower, VisionTower
from cerviclip.vlm.heads.class_features import ClassPrompts, KeptWhileUnchanged
from cerviclip.vlm.learned.adapted import AdaptedTower


class AdaptedTowers(SupervisedStep, VLMTrainer):  # type: ignore[misc]  # two items, not three
    """Base of trainers whose towers are copies in which a part learns, by cross-entropy.

    A method calls ``adapt`` in ``build_model``. Batches hold the tokens that enter ``first_block``
    (``image_input`` hidden), or pixels where the layers before the blocks learn too (images).
    """

    learns = "weights"
    image_input = "hidden"

    def adapt(self, visual: VisionTower, text: TextTower, what: str) -> None:
        """Take these copies of the towers, and register what learns of each.

        Args:
            visual, text: their parameters that require a gradient learn.
            what: names it: the learners are ``vision_<what>`` and ``text_<what>``.
        """
        self.visual, self.text = visual, text
        sha = self.backbone.weights_sha256
        for name, tower in (("vision", visual), ("text", text)):
            self.register_learner(f"{name}_{what}", AdaptedTower(tower, sha).to(self.device))
        prompts = ClassPrompts(self.backbone, self.class_texts())
        learned = list(self._models[f"text_{what}"].parameters())
        self.class_features = KeptWhileUnchanged(lambda: prompts.features(text), learned)

    def encode_images(self, input: Tensor) -> Tensor:
        """Unit features (B, D) of pixels or of stored tokens by the adapted tower."""
        hidden = self.hidden_states(input) if self.image_input == "hidden" else None
        with self.precision.autocast():
            if hidden is None:
                features = self.visual(input.to(self.device))
            else:
                features = self.visual.finish(hidden, self.first_block)
        return F.normalize(features.float(), dim=-1)

    def classify(self, image_features: Tensor) -> Tensor:
        """Hook: logits (B, C) of unit features (B, D)."""
        with self.precision.autocast():
            classes = self.class_features()
        return self.backbone.scale * image_features @ classes.float().t()

    def inference_with_features(self, input: Tensor) -> tuple[Tensor, Tensor | None]:
        images = self.encode_images(input)
        return self.classify(images), images

    def model_inference(self, input: Tensor) -> Tensor:
        return self.classify(self.encode_images(input))
