"""FixMatch (Sohn et al., NeurIPS 2020), arXiv:2001.07685, on top of any supervised method.

The unlabelled images are the training images outside the few-shot draw. Their labels are dropped
before anything can read them. A step adds to the method's own loss

    W * mean over u of 1(max q_u >= t) * H(argmax q_u, p(strong view of u))

with q_u = p(weak view of u),

so that what the model is sure of in a weak view, it must also say of a strong one. The weak view is
the method's own training view (INPUT.TRANSFORMS).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cerviclip.features.loader import FeatureDataset, FeatureLoader
from dassl.data.data_manager import DatasetWrapper, build_data_loader
from dassl.data.datasets import Datum
from dassl.data.transforms import build_transform
from dassl.engine.trainer import endless
from dassl.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from cerviclip.engine.supervised import SupervisedStep
    from cerviclip.engine.vlm_trainer import VLMTrainer

    class Base(SupervisedStep, VLMTrainer):  # type: ignore[misc]  # two items, not three
        """What it is mixed into, where features are stored."""
else:
    Base = object  # a mixin: the trainer is the class that it is mixed into

NO_LABEL = -1
STRONG = ("random_resized_crop", "random_flip", "randaugment_fixmatch", "normalize")


def add_fixmatch_keys(section: CfgNode) -> None:
    """Add FixMatch's keys to a trainer's section of the config; changed in place."""
    section.WEIGHT_U = 1.0  # of the unlabelled images' loss; 0: the method as it is
    section.CONF_THRE = 0.95  # probability from which a weak view's class teaches
    section.STRONG_TRANSFORMS = STRONG  # the paper's: flip and shift, RandAugment, Cutout


def outside_the_draw(dataset: Any) -> list[Datum]:
    """The training images that the few-shot draw left out, without label and class.

    Args:
        dataset: an ``ImagingDataset``; its ``full_split`` is the split before the draw.

    Raises:
        UserError: the draw took all of them, or the data set does not say.
    """
    full = getattr(dataset, "full_split", None)
    if full is None:
        raise UserError(
            f"{type(dataset).__name__} does not say which training images it has not drawn; "
            "FixMatch takes its unlabelled images from them"
        )
    drawn = {item.impath for item in dataset.train_x}
    rest = [item for item in dataset.to_data(full["train"]) if item.impath not in drawn]
    if not rest:
        raise UserError(
            f"{type(dataset).__name__} has no training images outside the draw "
            f"({len(drawn)} are drawn), and FixMatch needs some without labels; give fewer --shots"
        )
    return [Datum(item.impath, NO_LABEL, item.domain, "", item.patient_id) for item in rest]


def fixmatch_loss(weak: Tensor, strong: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The paper's equation 4, and the share of images that are sure.

    Args:
        weak, strong: logits (B, C) of the two views of each image.
        threshold: least probability of a class that teaches, 0 to 1.
    """
    confidence, label = weak.detach().softmax(dim=-1).max(dim=-1)
    sure = (confidence >= threshold).float()
    losses = F.cross_entropy(strong, label, reduction="none")
    return (losses * sure).mean(), sure.mean()


class _Views(Dataset):
    """Weak and strong rows of the same images, without labels."""

    def __init__(self, weak: FeatureDataset, strong: FeatureDataset) -> None:
        self.weak, self.strong, self.data_source = weak, strong, weak.data_source

    def __len__(self) -> int:
        return len(self.weak)

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        weak, strong = (part.__getitems__(indices)["img"] for part in (self.weak, self.strong))
        return {"img": weak, "img2": strong}


class _Pixels(DatasetWrapper):
    """Weak and strong pixels of the same images, without labels."""

    def __getitem__(self, idx: int) -> dict[str, Any]:
        sample = super().__getitem__(idx)
        return {"img": sample["img"], "img2": sample["img2"]}


class FixMatchStep(Base):
    """Mixin before a trainer class of ``SupervisedStep``: its loss, and FixMatch's beside it.

    Settings stand in the trainer's own section (`add_fixmatch_keys`). DATALOADER.TRAIN_U says how
    many unlabelled images a step takes. ``INPUT.FEATURE_VIEWS`` above 1 stores that many weak and
    that many strong views of each; 0 makes them as they are needed.
    """

    many_processes = False  # each process would draw the unlabelled images of the whole batch
    _batches_u: Iterator[dict[str, Tensor]] | None = None
    _sure: Tensor | None = None

    def check_cfg(self, cfg: CfgNode) -> None:
        super().check_cfg(cfg)
        key = f"TRAINER.{cfg.TRAINER.NAME.upper()}"
        own = cfg.TRAINER[cfg.TRAINER.NAME.upper()]
        if own.WEIGHT_U < 0 or not 0 <= own.CONF_THRE <= 1:
            raise UserError(
                f"{key}.WEIGHT_U is {own.WEIGHT_U} and CONF_THRE {own.CONF_THRE}; give "
                "a weight from 0 and a probability from 0 to 1"
            )
        if own.WEIGHT_U > 0 and not own.STRONG_TRANSFORMS:
            raise UserError(
                f"{key}.STRONG_TRANSFORMS is empty: name transforms for the strong view, such as "
                f"{list(STRONG)}"
            )
        if own.WEIGHT_U > 0 and cfg.INPUT.FEATURE_VIEWS == 1 and self._is_stored:
            raise UserError(
                "INPUT.FEATURE_VIEWS 1 stores the plain image alone, and FixMatch needs weak and "
                "strong views; set it above 1, or to 0"
            )

    @property
    def fixmatch(self) -> CfgNode:
        """The trainer's own section."""
        return self.cfg.TRAINER[self.cfg.TRAINER.NAME.upper()]

    @property
    def _is_stored(self) -> bool:
        return getattr(type(self), "image_input", "images") != "images"

    def prepare_fit(self) -> None:
        super().prepare_fit()
        if self.fixmatch.WEIGHT_U > 0:
            items = outside_the_draw(self.dm.dataset)
            self.train_loader_u = self._unlabelled_loader(items)
            print(
                f"FixMatch: {len(items)} training images outside the draw, without their labels; "
                f"{self.train_loader_u.batch_size} in a step beside the labelled ones"
            )

    def _unlabelled_loader(self, items: Sequence[Datum]) -> DataLoader:
        cfg = self.cfg
        part = cfg.DATALOADER.TRAIN_X if cfg.DATALOADER.TRAIN_U.SAME_AS_X else (
            cfg.DATALOADER.TRAIN_U
        )  # fmt: skip
        preprocess = getattr(getattr(self, "backbone", None), "preprocess", None)
        weak = build_transform(cfg, is_train=True, preprocess=preprocess)
        strong = build_transform(
            cfg,
            is_train=True,
            choices=list(self.fixmatch.STRONG_TRANSFORMS),
            preprocess=preprocess,
        )
        if self._is_stored and cfg.INPUT.FEATURE_VIEWS > 1:
            views = [
                FeatureDataset(
                    items,
                    partial(self._open, self.stored_kind, cfg.INPUT.FEATURE_VIEWS, tfm_train=tfm),
                )
                for tfm in (weak, strong)
            ]
            return FeatureLoader(cfg, _Views(*views), part, is_train=True)  # type: ignore[arg-type]
        return build_data_loader(
            cfg,
            part.SAMPLER,
            items,
            batch_size=part.BATCH_SIZE,
            tfm=[weak, strong],
            is_train=True,
            dataset_wrapper=_Pixels,
        )

    def run_epoch(self) -> None:
        self._batches_u = None  # each epoch begins anew, so that a resumed run goes on exactly
        super().run_epoch()

    def loss_and_logits(self, input: Any, label: Tensor) -> tuple[Tensor, Tensor]:
        loss, logits = super().loss_and_logits(input, label)
        own = self.fixmatch
        if own.WEIGHT_U > 0:
            weak, strong = self._unlabelled_logits()
            unlabelled, self._sure = fixmatch_loss(weak, strong, own.CONF_THRE)
            loss = loss + own.WEIGHT_U * unlabelled
        return loss, logits

    def _unlabelled_logits(self) -> tuple[Tensor, Tensor]:
        """Logits (B, C) of the next unlabelled images' weak and strong views, in one pass."""
        if self._batches_u is None:
            self._batches_u = endless(self.train_loader_u)
        batch = next(self._batches_u)
        both = torch.cat([self._to_device(batch[key]) for key in ("img", "img2")])
        weak, strong = self.model_inference(both).chunk(2)
        return weak, strong

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        summary = super().forward_backward(batch)
        if self._sure is not None:
            summary["sure"] = self._sure * 100  # % of the unlabelled images
        return summary
