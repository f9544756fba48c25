"""Zero-shot CLIP (Radford et al., ICML 2021), arXiv:2103.00020. Reference code: openai/CLIP.

Differs from it: prompts are the dataset's own templates or class descriptions; each class's prompts
are averaged after L2 normalisation, as in section 3.1.4 of the paper (prompt ensembling). TEMPLATE
takes one of them alone, CLASS_WEIGHTS multiplies the classes' probabilities by weights that are
known beforehand, such as how common each class is. CalibratedZeroShotCLIP divides the logits by a
temperature (Guo et al., ICML 2017, arXiv:1706.04599) that val chooses by log-loss: it changes no
prediction, only how sure the probabilities are.
Run: python train.py --trainer ZeroShotCLIP --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.engine.fit_once import FitOnce
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.heads.scores import val_scores
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method, the same for both variants."""
    for name in ("ZEROSHOTCLIP", "CALIBRATEDZEROSHOTCLIP"):
        cfg.TRAINER[name] = CN()
        cfg.TRAINER[name].PREC = "fp32"
        cfg.TRAINER[name].TEMPLATE = 0  # number of the one prompt that is taken; 0: all, averaged
        cfg.TRAINER[name].CLASS_WEIGHTS = ()  # one for each class in label order; (): all alike
    # Tried on val: least and greatest temperature, and how many, evenly spaced in the logarithm.
    cfg.TRAINER.CALIBRATEDZEROSHOTCLIP.TEMPERATURES = (0.1, 10.0, 81)


class TemperatureHead(nn.Module):
    """Logits over one temperature, 1 until it is fitted."""

    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.tensor(1.0))

    def forward(self, logits: Tensor) -> Tensor:
        return logits / self.temperature


@TRAINER_REGISTRY.register()
class ZeroShotCLIP(VLMTrainer):
    """Zero-shot CLIP: cosine between an image and each class's texts; nothing is trained."""

    learns = "nothing"
    image_input = "features"
    needs_training = False
    many_processes = True  # they share the test

    def build_model(self) -> None:
        self.max_epoch = 0  # nothing to train
        self.build_classifier()

    def build_classifier(self) -> None:
        self.section = self.cfg.TRAINER[self.cfg.TRAINER.NAME.upper()]
        self.classifier = self.text_features(self.chosen_texts())  # (C, D), L2-normalised
        self.log_weights = self.class_log_weights()  # (C,)

    def chosen_texts(self) -> list[list[str]]:
        """All prompts of each class, or the one that TEMPLATE numbers."""
        texts, number = self.class_texts(), self.section.TEMPLATE
        if not number:
            return texts
        fewest = min(map(len, texts))
        if not 1 <= number <= fewest:
            raise UserError(
                f"TEMPLATE is {number}, and a class has {fewest} prompts: take 1 to {fewest}, "
                "or 0 for all"
            )
        return [[of_class[number - 1]] for of_class in texts]

    def class_log_weights(self) -> Tensor:
        weights = self.section.CLASS_WEIGHTS or (1.0,) * self.num_classes
        if len(weights) != self.num_classes or min(weights) <= 0:
            raise UserError(
                f"CLASS_WEIGHTS are {tuple(weights)}; give {self.num_classes} numbers above 0, for "
                f"{', '.join(self.task.classnames)}"
            )
        return torch.tensor(weights, dtype=torch.float32, device=self.device).log()

    def clip_logits(self, features: Tensor) -> Tensor:
        return self.backbone.scale * features @ self.classifier.t() + self.log_weights

    def model_inference(self, input: Tensor) -> Tensor:
        return self.clip_logits(self.image_features(input))


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(ZeroShotCLIP):
    """Another name of ZeroShotCLIP, as upstream spells it."""


@TRAINER_REGISTRY.register()
class CalibratedZeroShotCLIP(FitOnce, ZeroShotCLIP):
    """Zero-shot CLIP at a temperature that val chooses; the predicted classes stay."""

    learns = "head"  # one number
    needs_training = True  # the labels of val are used, which are few as the shots are

    def build_model(self) -> None:
        super().build_model()
        self.build_classifier()
        self.head = TemperatureHead().to(self.device)
        self.register_model("head", self.head)

    def fit(self) -> dict[str, float]:
        views, labels = self.split_features("val")
        if len(labels):
            low, high, steps = self.section.TEMPERATURES
            tried = torch.logspace(math.log10(low), math.log10(high), steps, device=self.device)
            logits = self.clip_logits(views[:, 0]) / tried[:, None, None]
            best = self.choose_on_val(
                [{"temperature": t} for t in tried.tolist()],
                *val_scores(logits, labels),
                by="log_loss",
            )
            self.head.temperature.copy_(tried[best])
        return {"temperature": self.head.temperature.item()}

    def model_inference(self, input: Tensor) -> Tensor:
        return self.head(super().model_inference(input))
