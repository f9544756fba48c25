"""Tissue regions of interest: found once per image, and how they follow it to its patches."""

from __future__ import annotations

import bisect
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torchvision.transforms as T
from PIL import Image
from torch import Tensor

from cerviclip.data.files.hashes import image_hashes
from cerviclip.data.images.views import describe_transform, make_view
from cerviclip.data.roi.sources import SOURCES, build_source
from cerviclip.data.roi.store import RoiStore, StoredRoi
from cerviclip.recent import Recent
from dassl.data.data_manager import DatasetWrapper
from dassl.data.transforms.transforms import ShrinkShorter
from dassl.errors import UserError
from dassl.utils import read_image
from dassl.utils.deep_images import windows_of
from dassl.utils.images import BegunImage

KINDS = ("box", "mask")
_TOP = 0.10  # part of the height, from the top, in which a box never starts


def box_top(mask: np.ndarray) -> int | None:
    """First row, from 10 % of the height down, that is all tissue; None where there is none."""
    start = int(_TOP * mask.shape[0])
    full_rows = np.flatnonzero(mask[start:].all(axis=1))
    return start + int(full_rows[0]) if len(full_rows) else None


# What all finders of a process remember of the ROIs that they found, in bytes.
_REMEMBERED_BYTES = 256 * 2**20


def _bytes_of(roi: StoredRoi) -> int:
    return 300 + (len(roi.found) if isinstance(roi.found, bytes) else 0)


class RoiFinder:
    """ROI of an image by its path (from this process's memory, the disk, or the source) or of an
    image in memory (from the source alone; nothing is remembered).

    Where no tissue is found the whole image is the ROI, and ``record`` counts and lists it.

    Args:
        source: ``surface``, ``masks``, ``segmenter`` or ``full``.
        kind: ``box`` (full width, from the first row that is all tissue to the bottom) or ``mask``.
        checkpoint: of the segmenter.
        folder: of the mask files.
        keys: the config section that asks, for messages.
    """

    _known: Recent[tuple, StoredRoi] = Recent(_REMEMBERED_BYTES, _bytes_of)

    def __init__(
        self,
        source: str = "surface",
        kind: str = "box",
        checkpoint: str = "",
        folder: str = "masks",
        keys: str = "TRAINER.SAVLT.ROI",
    ) -> None:
        if source not in SOURCES or kind not in KINDS:
            raise UserError(
                f"{keys}: SOURCE {source!r}, KIND {kind!r}; they take one of "
                f"{', '.join(SOURCES)} and one of {', '.join(KINDS)}"
            )
        self.kind = kind
        self.source = build_source(source, checkpoint, folder, keys)
        self.store = RoiStore(self.source.version, kind)
        self.identity = (source, self.source.version, kind, folder)
        self._asked: set[str] = set()
        #: What results.json says about a run's ROIs; grows as images are asked for.
        self.record: dict = {
            "source": source,
            "kind": kind,
            "images": 0,
            "not_found": 0,
            "not_found_images": [],
        }

    def mask(self, impath: str, image: Image.Image | None = None) -> Image.Image:
        """The ROI as an image of mode L, 255 inside, of the size of the image at ``impath``.

        Args:
            impath: the image file.
            image: the decoded image, where it is at hand.
        """
        return self._roi(impath, image).image()

    def mask_of(self, image: Image.Image, impath: str = "") -> Image.Image:
        """The same of an image in memory; neither stored nor counted.

        Args:
            image: as `read_image` gives it.
            impath: its file, for a source that looks beside it.
        """
        return self._find(impath, image).image()

    def prepare(self, paths: Iterable[str]) -> None:
        """Find the ROIs of all these images and count them here, whoever will ask for them: what
        a loader's worker processes count never comes back."""
        for path in paths:
            self._roi(path, None)
        image_hashes().flush()

    def _roi(self, impath: str, image: Image.Image | None) -> StoredRoi:
        status = os.stat(impath)
        key: tuple = (self.identity, impath, status.st_size, status.st_mtime_ns, windows_of(impath))
        key += self.source.depends_on(impath)
        roi = self._known.get(key)
        if roi is None:
            roi = self._known[key] = self._stored(impath, image)
        self._count(impath, roi.found is not None)
        return roi

    def _stored(self, impath: str, image: Image.Image | None) -> StoredRoi:
        if not self.store.active:
            return self._find(impath, image)
        digest = image_hashes().pixels(impath)
        roi = self.store.get(digest)
        if roi is None:
            roi = self._find(impath, image)
            self.store.put(digest, roi)
        return roi

    def _find(self, impath: str, image: Image.Image | None) -> StoredRoi:
        grey = np.asarray((image or read_image(impath)).convert("L"))
        height, width = grey.shape
        mask = self.source(impath, grey)
        found: int | bytes | None = None
        if mask is not None:
            if mask.all():
                found = 0  # a box, too, keeps its upper tenth
            else:
                found = box_top(mask) if self.kind == "box" else np.packbits(mask).tobytes()
        return StoredRoi((height, width), found)

    def _count(self, impath: str, found: bool) -> None:
        if impath in self._asked:
            return
        self._asked.add(impath)
        self.record["images"] += 1
        if not found:
            self.record["not_found"] += 1
            bisect.insort(self.record["not_found_images"], os.path.basename(impath))


# Transforms that move pixels and draw from torch's generator. Colour, noise and normalisation leave
# an ROI where it is; trainers refuse what moves pixels by other draws.
_GEOMETRIC = (
    T.Resize,
    ShrinkShorter,
    T.CenterCrop,
    T.RandomCrop,
    T.RandomResizedCrop,
    T.RandomHorizontalFlip,
    T.RandomVerticalFlip,
    T.RandomRotation,
    T.RandomAffine,
    T.Pad,
)


def steps_of(transform: Any) -> list[Callable]:
    """The single steps of a (possibly nested) ``Compose``."""
    if isinstance(transform, T.Compose):
        return [step for part in transform.transforms for step in steps_of(part)]
    return [transform]


def transform_together(
    steps: Iterable[Callable], image: Image.Image, roi: Image.Image
) -> tuple[Any, Any]:
    """Put an image through its transforms and its ROI through the geometric ones among them.

    Random steps are replayed for the ROI with the very draws that the image had, so the image comes
    out as it would alone and the generator stands where it would stand.
    """
    for step in steps:
        if isinstance(step, _GEOMETRIC):
            before = torch.get_rng_state()
            roi_out = step(roi)
            torch.set_rng_state(before)
            image, roi = step(image), roi_out
        else:
            image = step(image)
    return image, roi


def patch_mask(roi: Image.Image, grid: tuple[int, int], coverage: float = 0.5) -> Tensor:
    """Which patches (N,) lie in an ROI: those covered by at least ``coverage`` of their area.

    Where none reaches it, the most covered ones are in; where nothing is covered (a crop that
    missed the ROI), all are: a pool over nothing has no value.
    """
    share = _covered(roi, grid)
    inside = share >= coverage * 255
    if not inside.any():
        inside = share == share.max()
    return torch.from_numpy(inside)


def tissue_patches(roi: Image.Image, grid: tuple[int, int]) -> Tensor:
    """Which patches (N,) are tissue for at least half of their area; none where there is none."""
    return torch.from_numpy(_covered(roi, grid) >= 0.5 * 255)


def _covered(roi: Image.Image, grid: tuple[int, int]) -> np.ndarray:
    """How much of each patch an ROI covers, 0-255."""
    return np.asarray(roi.resize((grid[1], grid[0]), Image.Resampling.BOX)).reshape(-1)


class RoiDataset(DatasetWrapper):
    """``DatasetWrapper`` whose samples also hold ``roi``: the patches (N,) in the tissue."""

    finder: RoiFinder
    grid: tuple[int, int]
    patches_of = staticmethod(patch_mask)

    def __getitem__(self, idx: int) -> dict:
        item = self.data_source[idx]
        rest, image = BegunImage(item.impath).behind(self.transform)
        roi = self.finder.mask(item.impath, image if rest is self.transform else None)
        steps, rest_steps = steps_of(self.transform), steps_of(rest)
        for step in steps[: len(steps) - len(rest_steps)]:  # the image has been through them
            roi = step(roi)
        pixels, roi = transform_together(rest_steps, image, roi)
        return {
            "label": item.label,
            "domain": item.domain,
            "impath": item.impath,
            "index": idx,
            "img": pixels,
            "roi": self.patches_of(roi, self.grid),
        }


def roi_dataset(finder: RoiFinder, grid: tuple[int, int]) -> type[RoiDataset]:
    """The dataset wrapper of one finder and patch grid, as ``DataManager`` takes it."""
    return type("RoiDataset", (RoiDataset,), {"finder": finder, "grid": grid})


_REMEMBERED_PATCHES = 200_000  # images times views, about half a kB each


class PatchRois:
    """Patches in the ROI of test images and of stored views, each worked out once.

    Args:
        finder: of the ROIs.
        tfm_test: transform of the test images, without random steps.
        tfm_train: transform of the stored views.
        grid: (rows, columns) of patches.
    """

    def __init__(
        self,
        finder: RoiFinder,
        tfm_test: Callable,
        tfm_train: Callable,
        grid: tuple[int, int],
    ) -> None:
        self.finder = finder
        self.text = describe_transform(tfm_train)
        steps = steps_of(tfm_train)
        # What comes after the last step that moves pixels moves no ROI and draws nothing before.
        moving = [n for n, step in enumerate(steps, start=1) if isinstance(step, _GEOMETRIC)]
        self.view_steps = steps[: max(moving, default=0)]
        self.plain_steps = [step for step in steps_of(tfm_test) if isinstance(step, _GEOMETRIC)]
        self.grid = grid
        self._known: Recent[tuple[str, int | None], Tensor] = Recent(_REMEMBERED_PATCHES)
        self._last: tuple[str, Any] = ("", None)

    def __call__(self, paths: Sequence[str], views: Sequence[int] | None = None) -> Tensor:
        """Boolean (B, N).

        Args:
            paths: of the images.
            views: number of each image's stored view; None for test images.
        """
        views = [None] * len(paths) if views is None else views
        return torch.stack([self._of(p, v) for p, v in zip(paths, views, strict=True)])

    def of_image(self, image: Image.Image, path: str = "") -> Tensor:
        """Boolean (N,) for a test image in memory; nothing is kept.

        Args:
            image: as `read_image` gives it.
            path: its file, for a source that looks beside it.
        """
        return patch_mask(self.plain(self.finder.mask_of(image, path)), self.grid)

    def plain(self, picture: Image.Image) -> Image.Image:
        """An image or an ROI behind those steps of the test transform that move pixels."""
        for step in self.plain_steps:
            picture = step(picture)
        return picture

    def _of(self, path: str, view: int | None) -> Tensor:
        inside = self._known.get((path, view))
        if inside is None:
            roi = self.finder.mask(path)
            roi = self.plain(roi) if view is None else self._of_view(path, roi, view)
            inside = self._known[path, view] = patch_mask(roi, self.grid)
        return inside

    def _of_view(self, path: str, roi: Image.Image, view: int) -> Image.Image:
        """The ROI behind the very draws that the store made for that view."""
        if self._last[0] != path:  # an image whose views are asked for in turn is read once
            self._last = (path, read_image(path))
        return make_view(
            self._last[1],
            lambda image: transform_together(self.view_steps, image, roi)[1],
            self.text,
            image_hashes().pixels(path),
            view,
        )
