"""Phantom OCT: rendered frames in the layout of the real centres (docs/phantom.md).

No patient is behind any of them: figures on these sets say that the software works, nothing about a
hospital. A centre is rendered under DATASET.ROOT (``phantom/<centre>``) when it is first asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dassl.data.datasets import DATASET_REGISTRY, Datum
from dassl.data.datasets.imaging import class_folders, image_files
from dassl.data.phantoms import CENTRES, VERSION, ensure_centre
from dassl.data.splits import Item, Split, split_by_ratio
from dassl.errors import UnknownNameError, UserError
from datasets.cervix_oct import HuaxiOCT, MixedCenterOCT, XiangyaOCT

if TYPE_CHECKING:
    from yacs.config import CfgNode


class RenderedOnFirstUse:
    """Mixin: renders the centre ``centre`` before its folder is read."""

    centre = ""
    other_dirs = ()
    version = VERSION

    def prepare(self, cfg: CfgNode) -> None:
        if not cfg.DATASET.FOLDER:
            render_centre(cfg, self.centre)


def render_centre(cfg: CfgNode, centre: str) -> Path:
    """Render a phantom centre under ``DATASET.ROOT`` unless it is there."""
    root = Path(cfg.DATASET.ROOT or ".").expanduser()
    if not (root / "phantom" / centre).exists():
        frames = sum(CENTRES[centre].patients)
        print(f"Rendering phantom centre {centre} ({frames} patients) under {root}", flush=True)
    return ensure_centre(root, centre)


@DATASET_REGISTRY.register()
class PhantomOCT(RenderedOnFirstUse, MixedCenterOCT):
    """Phantom of the mixed-centre OCT set: rendered frames, no patients; train, val and test."""

    centre = "mixed"
    dataset_dir = "phantom/mixed/images"


@DATASET_REGISTRY.register()
class PhantomHuaxi(RenderedOnFirstUse, HuaxiOCT):
    """Phantom of an external centre in the Huaxi set's layout: rendered frames, tested on only."""

    centre = "huaxi"
    dataset_dir = "phantom/huaxi/images"


@DATASET_REGISTRY.register()
class PhantomXiangya(RenderedOnFirstUse, XiangyaOCT):
    """Phantom of an external centre in the Xiangya set's layout: rendered frames, tested on only."""

    centre = "xiangya"
    dataset_dir = "phantom/xiangya/images"


@DATASET_REGISTRY.register()
class PhantomHuaxiB(RenderedOnFirstUse, HuaxiOCT):
    """Phantom external centre under the second shift setting (B): rendered frames, tested on only."""

    centre = "huaxi_b"
    dataset_dir = "phantom/huaxi_b/images"
    domain = 3


@DATASET_REGISTRY.register()
class PhantomXiangyaB(RenderedOnFirstUse, XiangyaOCT):
    """Phantom external centre under the second shift setting (B): rendered frames, tested on only."""

    centre = "xiangya_b"
    dataset_dir = "phantom/xiangya_b/images"
    domain = 4


@DATASET_REGISTRY.register()
class PhantomDomains(MixedCenterOCT):
    """Phantom centres as domains (DATASET.SOURCE_DOMAINS, TARGET_DOMAINS): for DG and DA trainers.

    Every centre is split by patient. Labelled training and validation images come from the source
    centres; the target centres give unlabelled images (their training part) and the test.
    """

    domains = tuple(CENTRES)
    default_source = ("mixed", "huaxi")
    default_target = ("xiangya",)
    dataset_dir = "phantom"
    other_dirs = ()
    version = VERSION

    def prepare(self, cfg: CfgNode) -> None:
        self.source = tuple(cfg.DATASET.SOURCE_DOMAINS) or self.default_source
        self.target = tuple(cfg.DATASET.TARGET_DOMAINS) or self.default_target
        for name in (*self.source, *self.target):
            if name not in self.domains:
                raise UnknownNameError(
                    f'domain "{name}" is unknown for {self.name}; '
                    f"its domains: {', '.join(self.domains)}"
                )
        both = sorted(set(self.source) & set(self.target))
        if both:
            raise UserError(
                f"{', '.join(both)} stands in both DATASET.SOURCE_DOMAINS and "
                "DATASET.TARGET_DOMAINS; take it out of one of them"
            )
        for name in dict.fromkeys((*self.source, *self.target)):
            render_centre(cfg, name)
        self._unlabelled: list[Item] = []

    def find_folder(self, cfg: CfgNode) -> Path:
        root = Path(cfg.DATASET.ROOT or ".").expanduser()
        return Path(os.path.abspath(root / self.dataset_dir))

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        for centre in dict.fromkeys((*self.source, *self.target)):
            images = self.image_dir / centre / "images"
            for name in class_folders(images):
                for path in image_files(images / name):
                    yield f"{centre}/images/{name}/{path}", name

    def make_split(self, cfg: CfgNode, items: list[Item]) -> Split:
        split: Split = {"train": [], "val": [], "test": []}
        for centre in dict.fromkeys((*self.source, *self.target)):
            own = [item for item in items if item.path.startswith(f"{centre}/")]
            parts = split_by_ratio(
                own, self._ratio(cfg), cfg.DATASET.SPLIT_SEED, cfg.DATASET.SPLIT_BY
            )
            if centre in self.source:
                split["train"] += parts["train"]
                split["val"] += parts["val"]
            else:
                self._unlabelled += parts["train"]
                split["test"] += parts["val"] + parts["test"]
        return split

    def make_lists(self, cfg: CfgNode, split: Split, drawn: Split) -> dict[str, Any]:
        lists = super().make_lists(cfg, split, drawn)
        return {**lists, "train_u": self.to_data(self._unlabelled)}

    def to_data(self, items: Sequence[Item]) -> list[Datum]:
        """Items as ``Datum``; a domain is numbered by its place among the sources, then targets."""
        number = {name: k for k, name in enumerate((*self.source, *self.target))}
        return [
            Datum(
                str(self.image_dir / i.path),
                i.label,
                number[i.path.partition("/")[0]],
                i.classname,
                i.patient,
            )
            for i in items
        ]
