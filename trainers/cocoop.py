"""CoCoOp (Zhou et al., CVPR 2022), arXiv:2203.05557. Reference code: KaiyangZhou/CoOp.

The context of each image is moved by a small network of its feature f:

    ctx(f) = [v_1 + h(f), ..., v_M + h(f)],   h(f) = A_2 relu(A_1 f + a_1) + a_2,   A_1: D to D/16
    p(c | f) = softmax over c of scale * f . T([ctx(f), name_c])

Published: 4 context vectors from "a photo of a", SGD, learning rate 0.002, batch 1, 10 epochs.
Batch 1 is there for memory alone, as each image needs the text tower for every class.
Differs from it: image-class pairs run through the text tower in chunks of bounded size, and are run
again on the way back instead of being kept. So any batch and any number of classes fit.
Run: python train.py --trainer CoCoOp --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.base import TextTower
from cerviclip.vlm.prompts import PromptLearner, encode_in_chunks
from dassl.engine import TRAINER_REGISTRY

MAX_PAIRS = 4096  # image-class pairs whose features are held at once


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, those of the paper but for PREC."""
    cfg.TRAINER.COCOOP = CN()
    cfg.TRAINER.COCOOP.PREC = "fp32"  # the paper's: fp16
    cfg.TRAINER.COCOOP.N_CTX = 4  # context tokens
    cfg.TRAINER.COCOOP.CTX_INIT = "a photo of a"  # words to start from; they set N_CTX
    cfg.TRAINER.COCOOP.REDUCTION = 16  # the network's hidden width is D divided by this


class ConditionalContext(nn.Module):
    """A context, and the network that moves it for each image.

    Args:
        context: whose ``ctx`` (M, W) is moved.
        dim: D of the image features.
        reduction: of the hidden layer.
    """

    def __init__(self, context: PromptLearner, dim: int, reduction: int) -> None:
        super().__init__()
        self.context = context
        hidden, width = max(1, dim // reduction), context.ctx.shape[-1]
        self.meta_net = nn.Sequential(
            nn.Linear(dim, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, width)
        )
        self._pairs: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def pairs(self, images: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of each image-class pair (B C,) the image and the class, and its token ids (B C, L).

        Kept, since the text tower reads from the device how long new ids are.
        """
        tokens = self.context.tokens
        known = self._pairs.get(images)
        if known is None or known[2].device != tokens.device:
            classes = torch.arange(len(tokens), device=tokens.device).repeat(images)
            image = torch.arange(images, device=tokens.device).repeat_interleave(len(tokens))
            known = self._pairs[images] = (image, classes, tokens[classes])
        return known

    def features(self, tower: TextTower, image_features: Tensor) -> Tensor:
        """Class features (B, C, D), not normalised, for images of unit features (B, D)."""
        image, classes, tokens = self.pairs(len(image_features))
        moves = self.meta_net(image_features)  # (B, W)

        def embeddings(part: slice) -> Tensor:
            ctx = self.context.ctx + moves[image[part]].unsqueeze(1)  # (R, M, W)
            return self.context.place(ctx, classes[part])

        features = encode_in_chunks(tower, embeddings, tokens)
        return features.unflatten(0, (len(image_features), -1))


@TRAINER_REGISTRY.register()
class CoCoOp(SupervisedStep, VLMTrainer):
    """CoCoOp: a context that a small network moves by each image's feature."""

    learns = "prompts"
    image_input = "features"

    def build_model(self) -> None:
        cfg = self.cfg.TRAINER.COCOOP
        context = PromptLearner(self.backbone, self.task.classnames, cfg.N_CTX, cfg.CTX_INIT)
        model = ConditionalContext(context, self.backbone.embed_dim, cfg.REDUCTION)
        self.conditional = model.to(self.device)
        self.register_learner("prompt_learner", self.conditional)

    def model_inference(self, input: Tensor) -> Tensor:
        images = self.image_features(input)
        parts = images.split(max(1, MAX_PAIRS // self.num_classes))
        return torch.cat([self._logits(part) for part in parts])

    def _logits(self, images: Tensor) -> Tensor:
        with self.precision.autocast():
            features = self.conditional.features(self.backbone.text, images)
        classes = F.normalize(features.float(), dim=-1)  # (B, C, D)
        return self.backbone.scale * torch.einsum("bd,bcd->bc", images, classes)
