"""Tiles and cells of whole slides: around points, or on a grid over the tissue.

Slides are read by OpenSlide, or by tiffslide where OpenSlide cannot read the file or is not there.
Coordinates are px of the slide's full resolution (level 0) throughout.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cerviclip.data.cell_crops import cut_from
from cerviclip.places import install_hint
from dassl.errors import MissingFileError, UserError
from dassl.paths import exists

_THUMB = 1024  # px, longer side of the picture that tissue is looked for in
_COLOUR = 0.05  # saturation (0-1) below which nothing is tissue: glass and its noise
_EXTRA = f"slides are read with OpenSlide: {install_hint('slides')}"


class Slide:
    """One slide; close it after use.

    Args:
        path: of a file that OpenSlide or tiffslide reads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._slide = _open(path)
        self.size: tuple[int, int] = tuple(self._slide.dimensions)

    def close(self) -> None:
        self._slide.close()

    def crop(self, x: float, y: float, size: int, downsample: float) -> Image.Image:
        """A square around a point, mirrored at the slide's border.

        Args:
            x, y: its centre, inside the slide.
            size: side of the result in px.
            downsample: px of the slide for each px of the result.
        """
        level = self._slide.get_best_level_for_downsample(downsample * 1.001)
        step = float(self._slide.level_downsamples[level])
        width, height = self._slide.level_dimensions[level]
        side = max(1, round(size * downsample / step))

        def read(left: int, top: int, wide: int, tall: int) -> np.ndarray:
            corner = (round(left * step), round(top * step))
            return np.asarray(self._slide.read_region(corner, level, (wide, tall)).convert("RGB"))

        x, y = min(x / step, width - 1), min(y / step, height - 1)
        picture = Image.fromarray(cut_from(read, (width, height), x, y, side, side))
        return picture if side == size else picture.resize((size, size), Image.Resampling.BOX)

    def tile(self, x: int, y: int, width: int, height: int, level: int = 0) -> Image.Image:
        """A rectangle that lies in the slide.

        Args:
            x, y: its upper left corner, in px of level 0.
            width, height: in px of ``level``.
            level: of the slide's pyramid; 0 is the full resolution.

        Raises:
            UserError: there is no such level, or the rectangle reaches beyond the slide.
        """
        steps = self._slide.level_downsamples
        if level >= len(steps):
            raise UserError(f"the slide has the levels 0 to {len(steps) - 1}, and no {level}")
        step, (wide, tall) = float(steps[level]), self._slide.level_dimensions[level]
        if round(x / step) + width > wide or round(y / step) + height > tall:
            raise UserError(
                f"the tile {x},{y},{width},{height},{level} reaches beyond the slide, which has "
                f"{wide}x{tall} px on this level"
            )
        return self._slide.read_region((x, y), level, (width, height)).convert("RGB")

    def tissue(self) -> np.ndarray:
        """Where tissue is: booleans of a small picture of the slide, (height, width)."""
        scale = min(1.0, _THUMB / max(self.size))
        size = max(1, round(self.size[0] * scale)), max(1, round(self.size[1] * scale))
        picture = self._slide.get_thumbnail(size).convert("RGB")
        return tissue_mask(np.asarray(picture))

    def grid(self, size: int, downsample: float, least: float) -> Iterator[tuple[int, int]]:
        """Centres of whole tiles side by side that hold enough tissue.

        Args:
            size: side of a tile in px of the result.
            downsample: px of the slide for each of these.
            least: share of a tile that is tissue, at least.
        """
        side = round(size * downsample)
        mask = self.tissue()
        scale_y, scale_x = mask.shape[0] / self.size[1], mask.shape[1] / self.size[0]
        for top in range(0, self.size[1] - side + 1, side):
            for left in range(0, self.size[0] - side + 1, side):
                rows = slice(int(top * scale_y), max(int(np.ceil((top + side) * scale_y)), 1))
                columns = slice(int(left * scale_x), max(int(np.ceil((left + side) * scale_x)), 1))
                if mask[rows, columns].mean() >= least:
                    yield left + side // 2, top + side // 2


def tissue_mask(pixels: np.ndarray) -> np.ndarray:
    """Pixels that are more coloured than Otsu's threshold on saturation.

    Args:
        pixels: (height, width, 3), 0-255.
    """
    high, low = pixels.max(axis=2).astype(float), pixels.min(axis=2).astype(float)
    saturation = (high - low) / np.maximum(high, 1)
    return saturation > max(otsu(saturation), _COLOUR)


def otsu(values: np.ndarray) -> float:
    """Otsu's threshold (1979, eq. 12) of values in 0-1, in 256 steps."""
    counts, edges = np.histogram(values, 256, (0, 1))
    weight = counts.cumsum() / counts.sum()
    centers = (edges[:-1] + edges[1:]) / 2
    moment = (counts * centers).cumsum() / counts.sum()
    spread = weight * (1 - weight)
    between = (moment[-1] * weight - moment) ** 2 / np.where(spread > 0, spread, np.inf)
    return float(edges[between.argmax() + 1])


def _open(path: Path) -> Any:
    if not exists(path):
        raise MissingFileError(f"there is no slide {path}")
    why = []
    for module, kind in (("openslide", "OpenSlide"), ("tiffslide", "TiffSlide")):
        try:
            reader = getattr(importlib.import_module(module), kind)
        except ImportError:
            continue
        try:
            return reader(str(path))
        except Exception as error:  # each reader has errors of its own
            why.append(f"{module}: {error or type(error).__name__}")
    if not why:
        raise UserError(_EXTRA)
    raise UserError(f"{path} is no slide that can be read ({'; '.join(why)})")
