"""CLIVP: an image stream and a text stream of a frozen CLIP, fused before a classifier.

The two modes of CLIVP-Cervix, a repository for cervical cells that this project replaces: mode 0
takes image features alone, mode 1 image and text features. There the text of an image is a
description written from its own label, which gives the answer away. Here no image has a text of
its own: the text stream of an image with unit feature f is a mean of the descriptions t_p of *all*
classes, g = norm(sum_p softmax_p(s f't_p / T) t_p), in training and at test alike. So g depends on
the image and on texts that are the same for every image, and on no label. Then
h = dropout([relu(A f), relu(B g)]) and logits = W h + b; mode 0 leaves B g out. Mode 2 is for data
with reports (TRAINER.CLIVP.REPORTS): g is the text feature of the report that was written beside
the image, 0 where there is none; reports that name a class or stand for one are refused. Features
are unit vectors times sqrt(D). 50 epochs of batch 32 are the repository's; it states no widths and
no rate.
Run: python train.py --trainer CLIVP --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.data.texts.reports import Reports
from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.prompts import encode_class_texts
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method."""
    cfg.TRAINER.CLIVP = CN()
    cfg.TRAINER.CLIVP.PREC = "fp32"
    cfg.TRAINER.CLIVP.MODE = 1  # 0: image stream alone, 1: image and text, 2: image and its report
    cfg.TRAINER.CLIVP.REPORTS = ""  # mode 2: CSV with a column of paths and one of reports
    cfg.TRAINER.CLIVP.REPORT_WORDS = "refuse"  # reports that name a class: refuse, or mask the name
    cfg.TRAINER.CLIVP.PROMPTS = ""  # prompt set where DATASET.PROMPT_SET is empty
    cfg.TRAINER.CLIVP.TEMPERATURE = 1.0  # T; higher mixes more descriptions
    cfg.TRAINER.CLIVP.HIDDEN = 512  # width of each stream
    cfg.TRAINER.CLIVP.DROPOUT = 0.5


def described(image_features: Tensor, texts: Tensor, scale: Tensor | float) -> Tensor:
    """The text stream g (B, D): unit means of the texts (P, D), weighted by their similarity.

    Args:
        image_features: (B, D), L2-normalised.
        texts: (P, D), L2-normalised, of all classes.
        scale: s / T.
    """
    weights = (scale * image_features @ texts.t()).softmax(dim=-1)  # (B, P)
    return F.normalize(weights @ texts, dim=-1)


class FusionHead(nn.Module):
    """Logits (B, C) of an image stream and, where there is one, a text stream (B, D).

    Args:
        dim: D of the features.
        hidden: width of each stream.
        num_classes: C.
        dropout: share of the hidden units that a training step leaves out.
        with_text: mode 1.
    """

    def __init__(
        self, dim: int, hidden: int, num_classes: int, dropout: float, with_text: bool
    ) -> None:
        super().__init__()
        self.size = dim**0.5
        self.image = nn.Linear(dim, hidden)
        self.text = nn.Linear(dim, hidden) if with_text else None
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden * (1 + with_text), num_classes)

    def forward(self, image_features: Tensor, text_features: Tensor | None = None) -> Tensor:
        streams = [self.image(self.size * image_features)]
        if self.text is not None:
            streams.append(self.text(self.size * text_features))
        return self.out(self.dropout(F.relu(torch.cat(streams, dim=-1))))


@TRAINER_REGISTRY.register()
class CLIVP(SupervisedStep, VLMTrainer):
    """CLIVP: image features fused with class descriptions that are weighted by the image."""

    needs_text = False  # mode 1 does
    image_input = "features"

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        own = cfg.TRAINER.CLIVP
        if own.MODE not in (0, 1, 2):
            raise UserError(
                f"TRAINER.CLIVP.MODE is {own.MODE}; take 0 (image), 1 (image and class texts) or "
                "2 (image and its report)"
            )
        if (own.MODE == 2) != bool(own.REPORTS):
            raise UserError(
                f"TRAINER.CLIVP.MODE is {own.MODE} and TRAINER.CLIVP.REPORTS {own.REPORTS!r}: mode "
                "2, and no other, takes a table of reports"
            )
        if own.REPORT_WORDS not in ("refuse", "mask"):
            raise UserError(
                f"TRAINER.CLIVP.REPORT_WORDS is {own.REPORT_WORDS!r}; take refuse or mask"
            )
        if own.TEMPERATURE <= 0:
            raise UserError(f"TRAINER.CLIVP.TEMPERATURE is {own.TEMPERATURE}; it must be above 0")
        self.needs_text = own.MODE > 0

    def build_model(self) -> None:
        cfg = self.cfg.TRAINER.CLIVP
        sizes = self.backbone.embed_dim, cfg.HIDDEN, self.num_classes
        self.head = FusionHead(*sizes, cfg.DROPOUT, self.needs_text).to(self.device)
        self.register_learner("head", self.head)
        if self.mode == 1:
            texts = [text for of_class in self.class_texts(cfg.PROMPTS) for text in of_class]
            self.texts = self.text_features([[text] for text in dict.fromkeys(texts)])  # (P, D)

    @property
    def mode(self) -> int:
        return self.cfg.TRAINER.CLIVP.MODE

    # -- reports beside the images -----------------------------------------------------------------

    @cached_property
    def reports(self) -> Reports:
        """Read when an image's report is asked for: a saved run loads without them."""
        cfg = self.cfg.TRAINER.CLIVP
        reports = Reports(cfg.REPORTS)
        return reports.masked(self.task.classnames) if cfg.REPORT_WORDS == "mask" else reports

    def prepare_fit(self) -> None:
        super().prepare_fit()
        if self.mode == 2:
            data = self.dm.dataset
            known = [*data.train_x, *(data.val or [])]
            self.extra_results["reports"] = self.reports.check(known, self.task.classnames)

    @cached_property
    def report_table(self) -> tuple[dict[str, int], Tensor]:
        """Row of each text, and their unit features: all at once, so that no feature depends on
        the images that are asked for together."""
        texts = self.reports.texts
        rows = {text: row for row, text in enumerate(texts, start=1)}
        none = torch.zeros(1, self.backbone.embed_dim, device=self.device)
        known = [encode_class_texts(self.backbone, [[text] for text in texts])] if texts else []
        return {"": 0, **rows}, torch.cat([none, *known])

    @torch.no_grad()
    def report_features(self, paths: Sequence[str]) -> Tensor:
        """Unit text features (B, D) of these images' reports; 0 for an image without one."""
        rows, features = self.report_table
        return features[[rows[self.reports.of(path)] for path in paths]]

    def sample_of(self, image: Image.Image, path: str = "") -> dict[str, Tensor]:
        sample = super().sample_of(image, path)
        if self.mode < 2:
            return sample
        if not path:
            raise UserError(
                "this run reads the report beside an image (TRAINER.CLIVP.MODE 2); give the "
                "image's file, which its table of reports lists"
            )
        return {**sample, "report": self.report_features([path])[0]}

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Any, Tensor]:
        image, label = super().parse_batch_test(batch)
        if self.mode < 2:
            return image, label
        report = batch["report"] if "report" in batch else self.report_features(batch["impath"])
        return (image, self._to_device(report)), label

    # -- logits ------------------------------------------------------------------------------------

    def inference_with_features(self, input: Any) -> tuple[Tensor, Tensor | None]:
        image = input[0] if self.mode == 2 else input
        return self.model_inference(input), self.image_features(image)

    def model_inference(self, input: Any) -> Tensor:
        image, report = input if self.mode == 2 else (input, None)
        features = self.image_features(image)
        if self.mode == 1:
            scale = self.backbone.scale / self.cfg.TRAINER.CLIVP.TEMPERATURE
            report = described(features, self.texts, scale)
        return self.head(features, report)
