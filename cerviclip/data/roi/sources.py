"""Where an image's tissue mask comes from: the classical detector, mask files, a network, nothing.

A source is called with (path, grey image), the path empty for an image in memory. It gives a
boolean mask (H, W), or None where it finds no tissue. Its ``version`` says what besides the image a
mask depends on. The version is part of the key under which a result is stored; it is empty where a
result is not worth storing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from cerviclip.data.files.folders import IMAGE_SUFFIXES
from cerviclip.data.images.facts import facts_of
from cerviclip.data.roi import surface
from dassl.errors import MissingFileError, UserError
from dassl.paths import is_file
from dassl.utils.files import file_sha256
from dassl.utils.images import opened, orientation_of, turn, upright

SOURCES = ("surface", "masks", "segmenter", "full")


class Source(Protocol):
    """What `cerviclip.data.roi.finder.RoiFinder` asks of a source."""

    version: str

    def __call__(self, path: str, image: np.ndarray) -> np.ndarray | None: ...

    def depends_on(self, path: str) -> tuple:
        """What besides the image file would change this image's mask within a process."""


def build_source(
    name: str,
    checkpoint: str = "",
    folder: str = "masks",
    keys: str = "TRAINER.SAVLT.ROI",
) -> Source:
    """One of ``SOURCES``.

    Args:
        name: of the source.
        checkpoint: of the segmenter.
        folder: of the mask files.
        keys: the config section that asks, for messages.
    """
    build: dict[str, Callable[[], Source]] = {
        "surface": Surface,
        "full": Full,
        "masks": lambda: MaskFiles(folder, keys),
        "segmenter": lambda: SegmenterMasks(checkpoint, keys),
    }
    return build[name]()


class Surface:
    """Everything below the surface that the classical detector finds."""

    def __init__(self) -> None:
        # By the detector's own text, since a version number would be forgotten.
        self.version = f"surface {file_sha256(surface.__file__)[:16]}"

    def __call__(self, path: str, image: np.ndarray) -> np.ndarray | None:
        return surface.tissue_mask(image)

    def depends_on(self, path: str) -> tuple:
        return ()


class Full:
    """The whole image."""

    version = ""

    def __call__(self, path: str, image: np.ndarray) -> np.ndarray:
        return np.ones(image.shape, dtype=bool)

    def depends_on(self, path: str) -> tuple:
        return ()


class MaskFiles:
    """Masks stored beside the images; anything above 0 is tissue.

    A mask of another size but the same shape is stretched to the image; a missing file, or a mask
    of another aspect ratio, is an error, since it would put the ROI in the wrong place.
    """

    version = ""  # a file is there already

    def __init__(self, folder: str = "masks", keys: str = "TRAINER.SAVLT.ROI") -> None:
        self.folder, self.keys = folder, keys

    def __call__(self, path: str, image: np.ndarray) -> np.ndarray | None:
        mask = read_mask(self._file(path), path, image.shape)
        return mask if mask.any() else None

    def depends_on(self, path: str) -> tuple:
        status = os.stat(self._file(path))
        return status.st_size, status.st_mtime_ns

    def _file(self, path: str) -> Path:
        if not path:
            raise UserError(
                f"{self.keys}.SOURCE masks takes the mask beside an image's file; give the "
                "file's path instead of an image in memory"
            )
        file = existing_mask(mask_path(path, self.folder))
        if not is_file(file):
            raise MissingFileError(
                f"no mask {file} for image {path}: put it there, or set "
                f"{self.keys}.SOURCE to surface"
            )
        return file


class SegmenterMasks:
    """Masks from a network that ``tools/train_segmenter.py`` trained."""

    def __init__(self, checkpoint: str, keys: str = "TRAINER.SAVLT.ROI") -> None:
        from cerviclip.data.roi import segmenters

        if not checkpoint:
            raise UserError(
                f"{keys}.SOURCE segmenter needs {keys}.CHECKPOINT, a file "
                "that tools/train_segmenter.py wrote"
            )
        self.segmenter = segmenters.load_segmenter(checkpoint)
        hashes = file_sha256(checkpoint)[:32], file_sha256(segmenters.__file__)[:16]
        self.version = f"segmenter {' '.join(hashes)}"

    def __call__(self, path: str, image: np.ndarray) -> np.ndarray | None:
        mask = self.segmenter.masks([image])[0]
        return mask if mask.any() else None

    def depends_on(self, path: str) -> tuple:
        return ()


def mask_path(impath: str, folder: str = "masks") -> Path:
    """The mask beside an image: ``.../images/<class>/x.png`` has ``.../masks/<class>/x.png``.

    An image outside a folder named ``images`` has its mask in ``masks/`` next to it.
    """
    path = Path(impath)
    for depth, parent in enumerate(path.parents):
        if parent.name == "images":
            inner = path.relative_to(parent)
            return path.parents[depth + 1] / folder / inner.with_suffix(".png")
    return path.parent / folder / (path.stem + ".png")


def existing_mask(mask: Path) -> Path:
    """A mask file under any suffix of an image; the PNG where there is none."""
    if is_file(mask):
        return mask
    others = (mask.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)
    return next((path for path in others if is_file(path)), mask)


def mask_values(file: str | Path) -> np.ndarray:
    """A mask's values (H, W), the highest of its colours, turned as its own EXIF data say."""
    return _values_of(file)[0]


def read_mask(file: str | Path, impath: str | Path, shape: tuple[int, ...]) -> np.ndarray:
    """A mask file of any mode as booleans of its image's shape; what is above 0 is tissue.

    Not through ``read_image``: scaled to 8 bits, the 1 of a 16-bit mask would be 0. Alpha is left
    out, since an opaque black pixel is background. A mask is turned as its own EXIF orientation
    says; one that says nothing and fits only the pixels that its image stores is turned with it.

    Raises:
        UserError: no image, or one of another aspect ratio than the mask's image.
    """
    values, tagged = _values_of(file)
    mask = values > 0
    if not tagged:
        mask = _turned_with_its_image(mask, str(impath), shape)
    if mask.shape == shape:
        return mask
    height, width = shape
    if not _same_aspect(mask.shape, shape):
        raise UserError(
            f"mask {file} is {mask.shape[1]}x{mask.shape[0]} px but its image {impath} is "
            f"{width}x{height} px; give both the same shape"
        )
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def _values_of(file: str | Path) -> tuple[np.ndarray, bool]:
    """A mask's values, and whether its own EXIF data turned it."""
    with opened(file, "mask") as picture:
        coloured = picture.mode in ("P", "PA", "LA", "RGBA")
        picture.load()
        tagged = orientation_of(picture) > 1
        turned = upright(picture)
        values = np.asarray(turned.convert("RGB") if coloured else turned)
    return (values.max(-1) if values.ndim == 3 else values), tagged


def _turned_with_its_image(mask: np.ndarray, impath: str, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of the pixels as its image stores them, turned as its image is."""
    if _same_aspect(mask.shape, shape) or not os.path.exists(impath):
        return mask
    facts = facts_of(impath)
    if facts is None or facts.orientation == 1 or not _same_aspect(mask.shape, facts.size[::-1]):
        return mask
    return np.asarray(turn(Image.fromarray(mask), facts.orientation))


def _same_aspect(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return abs(a[0] * b[1] - a[1] * b[0]) <= max(b)
