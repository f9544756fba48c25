"""The base of methods that learn a context before the class names, on stored image features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.heads.class_features import KeptWhileUnchanged
from cerviclip.vlm.prompts import PromptLearner


def add_context_keys(section: CN, n_ctx: int, ctx_init: str) -> None:
    """Add the keys of CoOp's context, and PREC, to a method's section of the config.

    Args:
        section: changed in place.
        n_ctx: number of context vectors, where ``ctx_init`` is empty.
        ctx_init: words to start from.
    """
    section.PREC = "fp32"  # the papers: fp16, for their GPUs
    section.N_CTX = n_ctx  # context tokens
    section.CSC = False  # one context for each class
    section.CTX_INIT = ctx_init  # words to start from, e.g. "a photo of a"; they set N_CTX
    section.CLASS_TOKEN_POSITION = "end"  # or middle, front


class LearnedContext(SupervisedStep, VLMTrainer):  # type: ignore[misc]  # two items, not three
    """CoOp's model: class features of a learned context and frozen features of the images.

    A method adds its loss in ``loss_and_logits``. ``build_model`` calls ``learn_context`` with the
    method's section of the config.
    """

    learns = "prompts"
    image_input = "features"

    def learn_context(self, section: CN) -> None:
        """Register the context that ``section`` describes (see ``add_context_keys``)."""
        self.prompt_learner = PromptLearner(
            self.backbone,
            self.task.classnames,
            section.N_CTX,
            section.CTX_INIT,
            section.CSC,
            section.CLASS_TOKEN_POSITION,
        ).to(self.device)
        self.class_features = KeptWhileUnchanged(self.encode_prompts, [self.prompt_learner.ctx])
        self.register_learner("prompt_learner", self.prompt_learner)

    def encode_prompts(self) -> Tensor:
        """Unit class features (C, D) of the prompts as they are now."""
        with self.precision.autocast():
            features = self.prompt_learner.features(self.backbone.text)
        return F.normalize(features.float(), dim=-1)

    def logits_of(self, image_features: Tensor, class_features: Tensor) -> Tensor:
        """Logits (B, C) of unit features (B, D) and (C, D)."""
        return self.backbone.scale * image_features @ class_features.t()

    def model_inference(self, input: Tensor) -> Tensor:
        return self.logits_of(self.image_features(input), self.class_features())
