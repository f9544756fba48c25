"""Features of several backbones side by side, each with its own preprocessing and stored rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from cerviclip.engine.transforms import build_transforms
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.environment import store_dtype
from cerviclip.features.encode import FrozenEncoder, encoder_of
from cerviclip.features.source import FeatureSource
from cerviclip.vlm.base import Backbone, VisionTower
from cerviclip.vlm.loading import shared_backbone
from cerviclip.vlm.precision import precision_of
from dassl.errors import UserError

if TYPE_CHECKING:
    from cerviclip.features.source import StoredTable, Table


def named_backbone(text: str) -> tuple[str, str]:
    """Name and weights file of ``NAME`` or ``NAME=FILE``."""
    name, _, file = text.partition("=")
    if not name or (not file and "=" in text):
        raise UserError(f"a backbone is NAME or NAME=FILE, not {text!r}")
    return name, file


def joined_rows(rows: Sequence[Tensor]) -> Tensor:
    """Rows (B, D1), (B, D2) ... of several backbones as unit rows (B, D1 + D2 + ...), in which each
    has an equal share of the length."""
    units = [F.normalize(part.float(), dim=-1) for part in rows]
    return torch.cat(units, dim=-1) / len(units) ** 0.5


class JoinedTable:
    """Tables of several backbones over the same images, as one."""

    def __init__(self, tables: Sequence[Table | StoredTable]) -> None:
        self.tables = list(tables)
        self.views = self.tables[0].views
        self.nbytes = sum(table.nbytes for table in self.tables)

    def gather(self, index: Tensor, view: Tensor | int = 0) -> Tensor:
        """Rows (B, D1 + D2 + ...) of the images ``index`` (B,)."""
        return joined_rows([table.gather(index, view) for table in self.tables])


class _Part(NamedTuple):
    """A backbone with its encoder and its transforms."""

    backbone: Backbone
    encoder: FrozenEncoder
    tfm_train: Any
    tfm_test: Any


class JoinedTower(VisionTower):
    """The networks of several backbones; images have no common input, so it has none."""

    open_blocks = False
    prefix = 0

    def __init__(self, towers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.towers = nn.ModuleList(towers)

    def stem(self, x: Tensor) -> Tensor:
        raise UserError(
            "several backbones have no common network to look into, to trace or to adapt; take a "
            "run on one of them"
        )


def joined_backbone(parts: Sequence[Backbone]) -> Backbone:
    """One backbone that stands for several: its name, its dimension, its weights' identity."""
    import hashlib

    first = parts[0]
    known = " ".join(part.weights_sha256 or part.fingerprint() for part in parts)
    made = Backbone(
        name=" + ".join(part.name for part in parts),
        arch=" + ".join(part.arch for part in parts),
        visual=JoinedTower([part.visual for part in parts]),
        preprocess=first.preprocess,
        embed_dim=sum(part.embed_dim for part in parts),
        weights_sha256=hashlib.sha256(known.encode()).hexdigest(),
        weights_file=first.weights_file,
    )
    return made.eval().requires_grad_(False).to(first.device)


class JoinedFeatures(VLMTrainer):
    """Base of trainers on the pooled features of several frozen backbones.

    With one backbone it is ``VLMTrainer`` itself. ``further_backbones`` names the others.
    """

    image_input = "features"
    needs_text = False

    def further_backbones(self) -> Sequence[str]:
        """Hook: the backbones beside MODEL.BACKBONE, each ``NAME`` or ``NAME=FILE``."""
        return ()

    def build_backbone(self) -> None:
        super().build_backbone()
        others = [named_backbone(text) for text in self.further_backbones()]
        self.parts = [
            _Part(self.backbone, self._encoder("pooled"), self.tfm_train, self.tfm_test),
            *(self._part(name, file) for name, file in others),
        ]
        if others:
            self.backbone = joined_backbone([part.backbone for part in self.parts])

    def _part(self, name: str, file: str) -> _Part:
        cfg = self.cfg
        backbone = shared_backbone(name, file or None, precision_of(cfg), self.device)
        encoder = encoder_of(backbone, "pooled", cfg.INPUT.STORE_DTYPE or store_dtype())
        encoder.check_views(cfg.INPUT.FEATURE_VIEWS)
        return _Part(backbone, encoder, *build_transforms(cfg, backbone, bool(self.stored_kind)))

    @property
    def dims(self) -> list[int]:
        """Numbers that each backbone gives."""
        return [part.backbone.embed_dim for part in self.parts]

    def _open(
        self, kind: str, views: int, paths: Sequence[str], tfm_train: Callable | None = None
    ) -> Any:
        if len(self.parts) == 1:
            return super()._open(kind, views, paths, tfm_train)
        tables = []
        for part in self.parts:
            transform = part.tfm_train if views > 1 else part.tfm_test
            source = FeatureSource(part.encoder, transform, views, counts=self.store_counts)
            tables.append(source.table(paths))
        return JoinedTable(tables)

    # -- images that no store has: pixels of all backbones in one row ------------------------------

    def sample_of(self, image: Image.Image, path: str = "") -> dict[str, Tensor]:
        if len(self.parts) == 1:
            return super().sample_of(image, path)
        return {"img": torch.cat([part.tfm_test(image).flatten() for part in self.parts])}

    def rows_of(self, pixels: Tensor) -> Tensor:
        if len(self.parts) == 1:
            return super().rows_of(pixels)
        rows, start = [], 0
        for part in self.parts:
            height, width = part.backbone.preprocess.size
            end = start + 3 * height * width
            own = pixels[:, start:end].unflatten(1, (3, height, width))
            rows.append(part.encoder(own).float())
            start = end
        return joined_rows(rows)
