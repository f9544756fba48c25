"""CNN baseline: a torchvision or timm classifier, fine-tuned as a whole with cross-entropy.

The recipe of the histology and cytology repositories that this project replaces (ResNet-50 on
BreakHis, EfficientNet-B0 on SIPaKMeD): ImageNet weights, a new last layer, label smoothing, Adam or
SGD with a step or cosine schedule. MODEL.BACKBONE.NAME is the network, MODEL.INIT_WEIGHTS a file
with its weights; without one MODEL.BACKBONE.PRETRAINED says whether ImageNet's are downloaded.
Run: python train.py --trainer CNNBaseline --backbone torchvision:resnet50 \\
    --dataset-config-file configs/datasets/herlev.yaml
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.data.images.cache import build_image_loader
from cerviclip.data.roi.finder import PatchRois, RoiFinder, tissue_patches
from cerviclip.data.roi.mask_head import (
    LastMap,
    MaskHead,
    add_mask_keys,
    mask_dataset,
    mask_loss,
    mask_scores,
)
from cerviclip.engine.iterations import ByIterations, max_iters_or
from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.task_trainer import TaskTrainer
from cerviclip.vlm.heads.logistic import fit_linear
from cerviclip.vlm.precision import Precision, precision_of
from cerviclip.vlm.towers.cnn import last_layer, timm_model, torchvision_model
from dassl.data import DataManager
from dassl.data.datasets import Datum
from dassl.data.transforms import build_transform
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method."""
    cfg.TRAINER.CNNBASELINE = CN()
    cfg.TRAINER.CNNBASELINE.PREC = "fp32"
    cfg.TRAINER.CNNBASELINE.LABEL_SMOOTHING = 0.1
    # How the new last layer starts: random, or probe, a logistic regression on the shots. To tune
    # from there keeps the pre-trained features (LP-FT, Kumar et al., ICLR 2022, arXiv:2202.10054).
    cfg.TRAINER.CNNBASELINE.HEAD = "random"
    cfg.TRAINER.CNNBASELINE.PROBE_C = 0.01  # its inverse penalty, on standardised features
    # Few shots make short epochs: at least this many iterations, with the schedule stretched over
    # them; 0 trains OPTIM.MAX_EPOCH epochs whatever their length.
    cfg.TRAINER.CNNBASELINE.MIN_ITERS = 0
    # A second task, the tissue mask: WEIGHT 0 leaves it out.
    add_mask_keys(cfg.TRAINER.CNNBASELINE)


def build_classifier(name: str, num_classes: int, weights: str, pretrained: bool) -> nn.Module:
    """A network with a new last layer.

    Args:
        name: ``torchvision:<arch>``, ``timm:<arch>``, or a torchvision name alone.
        num_classes: of the last layer.
        weights: a file with the library's own names; empty for none.
        pretrained: without a file, take the library's ImageNet weights instead of random ones.
    """
    library, _, arch = name.rpartition(":")
    build = timm_model if library == "timm" else torchvision_model
    return build(arch, weights or (None if pretrained else "scratch"), num_classes)[0]


@TRAINER_REGISTRY.register()
class CNNBaseline(SupervisedStep, ByIterations, TaskTrainer):
    """CNN baseline: a torchvision or timm network fine-tuned as a whole, no text."""

    learns = "weights"
    saves_all_weights = True
    mask_head: MaskHead | None = None

    def check_cfg(self, cfg: CN) -> None:
        precision_of(cfg)
        library, colon, _ = cfg.MODEL.BACKBONE.NAME.rpartition(":")
        if colon and library not in ("torchvision", "timm"):
            raise UserError(
                f"CNNBaseline takes torchvision:<arch> or timm:<arch>, not backbone "
                f"{cfg.MODEL.BACKBONE.NAME!r} (--backbone)"
            )
        if cfg.TRAINER.CNNBASELINE.HEAD not in ("random", "probe"):
            head = cfg.TRAINER.CNNBASELINE.HEAD
            raise UserError(f"TRAINER.CNNBASELINE.HEAD is {head!r}; take random or probe")

    def build_model(self) -> None:
        cfg, model = self.cfg, self.cfg.MODEL
        self.precision = Precision(precision_of(cfg), self.device)
        self.model = build_classifier(
            model.BACKBONE.NAME, self.num_classes, model.INIT_WEIGHTS, model.BACKBONE.PRETRAINED
        ).to(self.device, memory_format=torch.channels_last)  # 1.5 times faster convolutions
        self.register_learner("model", self.model)
        if self.mask_weight > 0:
            self.build_mask_head()

    # -- the tissue mask, a second task ------------------------------------------------------------

    @property
    def mask_weight(self) -> float:
        return self.cfg.TRAINER.CNNBASELINE.MASK.WEIGHT

    def make_data_manager(self) -> DataManager:
        if self.mask_weight <= 0:
            return super().make_data_manager()
        mask, keys = self.cfg.TRAINER.CNNBASELINE.MASK, "TRAINER.CNNBASELINE.MASK"
        self.finder = RoiFinder(mask.SOURCE, "mask", mask.CHECKPOINT, mask.FOLDER, keys)
        self.with_masks = mask_dataset(self.finder)
        return DataManager(self.cfg, custom_tfm_test=self.tfm_test, dataset_wrapper=self.with_masks)

    def build_mask_head(self) -> None:
        self.last_map = LastMap(self.model, tuple(self.cfg.INPUT.SIZE))
        self.mask_head = MaskHead(self.last_map.channels).to(self.device)
        self.register_learner("mask_head", self.mask_head)

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Any, Tensor]:
        image, label = self.parse_batch_test(batch)
        return ((image, self._to_device(batch["roi"])) if self.mask_head else image), label

    def mask_logits(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (B, C) and the mask's logits (B, N) over the places of the last map."""
        logits, tokens = self.last_map.tokens(lambda: self.model_inference(image))
        return logits, self.mask_head(tokens)

    def after_train(self) -> None:
        if self.mask_head:
            self.extra_results = {"tissue_mask_on_val": self.score_masks(self.dm.dataset.val or [])}
        super().after_train()

    @torch.no_grad()
    def score_masks(self, items: Sequence[Datum]) -> dict[str, Any]:
        """How well the mask of the last step is found on these images; not the tested ones."""
        self.set_model_mode("eval")
        grid = self.last_map.grid
        rois = PatchRois(self.finder, self.tfm_test, self.tfm_test, grid)
        pairs = []
        for batch in build_image_loader(self.cfg, items, self.tfm_test):
            tissue = [
                tissue_patches(rois.plain(self.finder.mask(path)), grid) for path in batch["impath"]
            ]
            logits = self.mask_logits(self._to_device(batch["img"]))[1]
            pairs.append((logits, torch.stack(tissue)))
        return {**mask_scores(pairs), "grid": list(grid)}

    # -- training ----------------------------------------------------------------------------------

    def count_iterations(self) -> int:
        by_epochs = self.cfg.OPTIM.MAX_EPOCH * max(1, len(self.train_loader_x))
        at_least = self.cfg.TRAINER.CNNBASELINE.MIN_ITERS
        return max_iters_or(self.cfg, at_least if at_least > by_epochs else 0)

    def prepare_fit(self) -> None:
        super().prepare_fit()
        if self.mask_head:
            self.with_masks.grid = self.last_map.grid
        if self.cfg.TRAINER.CNNBASELINE.HEAD == "probe":
            self.start_head()

    @torch.no_grad()
    def start_head(self) -> None:
        """The last layer from a logistic regression on what reaches it, without augmentation."""
        layer, inputs, labels = last_layer(self.model)[1], [], []
        self.set_model_mode("eval")
        transform = build_transform(self.cfg, is_train=False)
        for batch in build_image_loader(self.cfg, self.dm.dataset.train_x, transform):
            image, label = self.parse_batch_test(batch)
            inputs.append(self.inference_with_features(image)[1])
            labels.append(label)
        features = torch.cat(inputs)
        c = self.cfg.TRAINER.CNNBASELINE.PROBE_C
        ((weight, bias),) = fit_linear(features, torch.cat(labels), self.num_classes, [c])
        layer.weight.copy_(weight.view_as(layer.weight))
        layer.bias.copy_(bias.clamp(min=-20))  # a class without images can still be reached

    def inference_with_features(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C), and what reaches the last layer (B, D), in float32."""
        inputs: list[Tensor] = []
        layer = last_layer(self.model)[1]
        hook = layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0].float()))
        try:
            logits = self.model_inference(input)
        finally:
            hook.remove()
        (features,) = inputs
        return logits, features.mean((2, 3)) if features.ndim == 4 else features

    def loss_and_logits(self, input: Any, label: Tensor) -> tuple[Tensor, Tensor]:
        smoothing = self.cfg.TRAINER.CNNBASELINE.LABEL_SMOOTHING
        if self.mask_head is None:
            logits = self.model_inference(input)
            return F.cross_entropy(logits, label, label_smoothing=smoothing), logits
        logits, mask = self.mask_logits(input[0])
        loss = F.cross_entropy(logits, label, label_smoothing=smoothing)
        return loss + self.mask_weight * mask_loss(mask, input[1]), logits

    def model_inference(self, input: Tensor) -> Tensor:
        with self.precision.autocast():
            output = self.model(input.contiguous(memory_format=torch.channels_last))
        # Inception and GoogLeNet also return an auxiliary classifier while training.
        return getattr(output, "logits", output).float()
