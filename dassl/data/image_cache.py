"""Decoded images and resized test images, kept in memory by the runs of one process.

Off until `enable` is called, which our own runner does: foreign code decodes as it always did. A cached
image has the very bytes that Pillow decodes, and a test image resized once has the very bits that
its transform gives each time.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from dassl.data.datasets import Datum

DEFAULT_BYTES = 2**30


class ImageCache:
    """Arrays of bytes by file and step, the longest unused dropped first.

    Args:
        max_bytes: bound on the sum of the arrays.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._items: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str, step: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of ``step`` on the file as it is now, from ``make`` the first time.

        Callers must not write to it.
        """
        stat = os.stat(path)
        key = (os.path.abspath(path), stat.st_size, stat.st_mtime_ns, step)
        with self._lock:
            array = self._items.get(key)
            if array is not None:
                self._items.move_to_end(key)
                self.hits += 1
                return array
        array = make()
        with self._lock:
            self.misses += 1
            if key not in self._items and array.nbytes <= self.max_bytes:
                array.setflags(write=False)
                self._items[key] = array
                self.bytes += array.nbytes
                while self.bytes > self.max_bytes:
                    self.bytes -= self._items.popitem(last=False)[1].nbytes
        return array

    def image(self, path: str, decode: Callable[[str], Image.Image]) -> Image.Image:
        """An RGB image; a new object each time, so that callers may alter it."""
        return Image.fromarray(self.get(path, "decoded", lambda: np.array(decode(path))))


_active: ImageCache | None = None


def enable(max_bytes: int = DEFAULT_BYTES) -> ImageCache:
    """Keep images from now on; a second call keeps what is there."""
    global _active
    if _active is None or _active.max_bytes != max_bytes:
        _active = ImageCache(max_bytes)
    return _active


def disable() -> None:
    """Forget all images and decode anew each time."""
    global _active
    _active = None


def active() -> ImageCache | None:
    """The cache in use, None when off."""
    return _active


def split_transform(transform: Any) -> tuple[list[Callable], Tensor, Tensor] | None:
    """A test transform as steps on 8-bit images, then one normalisation that batches may share.

    Returns:
        The steps before ``ToTensor``, mean (3, 1, 1) and std (3, 1, 1); None where the transform is not
        of the form [steps on images, ToTensor, Normalize] with deterministic steps.
    """
    from torchvision.transforms import CenterCrop, Normalize, Resize, ToTensor

    steps = list(getattr(transform, "transforms", []))
    places = [i for i, step in enumerate(steps) if isinstance(step, ToTensor)]
    if len(places) != 1:
        return None
    before, after = steps[: places[0]], steps[places[0] + 1 :]
    known = all(isinstance(s, (Resize, CenterCrop)) or getattr(s, "deterministic", False) for s in before)
    if not known or len(after) > 1 or not all(isinstance(s, Normalize) for s in after):
        return None
    mean = torch.tensor(after[0].mean if after else [0.0] * 3, dtype=torch.float32)
    std = torch.tensor(after[0].std if after else [1.0] * 3, dtype=torch.float32)
    return before, mean.view(-1, 1, 1), std.view(-1, 1, 1)


class TestImageDataset(Dataset):
    """Test images resized once per process; a batch is normalised at once.

    Args:
        items: the images.
        transform: one that `split_transform` can take apart.
        cache: where resized bytes are kept.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self, items: Sequence[Datum], transform: Any, cache: ImageCache) -> None:
        from dassl.data.features.encode import describe_transform

        parts = split_transform(transform)
        if parts is None:
            raise ValueError(f"not a plain test transform: {transform}")
        self.steps, self.mean, self.std = parts
        self.data_source = items
        self.cache = cache
        self.text = "resized " + ", ".join(describe_transform(step) for step in self.steps)

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        batch = self.__getitems__([index])
        return {key: value[0] for key, value in batch.items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        items = [self.data_source[i] for i in indices]
        arrays = [self.cache.get(d.impath, self.text, lambda d=d: self._resized(d)) for d in items]
        pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)  # (B, 3, H, W)
        pixels = pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        return {
            "label": torch.tensor([d.label for d in items]),
            "domain": torch.tensor([d.domain for d in items]),
            "impath": [d.impath for d in items],
            "index": torch.tensor(indices),
            "img": pixels.sub_(self.mean).div_(self.std),
        }

    def _resized(self, item: Datum) -> np.ndarray:
        from dassl.utils import read_image

        image = read_image(item.impath)
        for step in self.steps:
            image = step(image)
        return np.array(image)


def build_image_loader(cfg: CfgNode, items: Sequence[Datum], transform: Any) -> DataLoader:
    """A deterministic loader of pixels; resized images are kept where the cache is on."""
    from dassl.data.data_manager import build_data_loader

    part = cfg.DATALOADER.TEST
    if _active is None or cfg.DATALOADER.RETURN_IMG0 or split_transform(transform) is None:
        return build_data_loader(
            cfg, part.SAMPLER, items, batch_size=part.BATCH_SIZE, tfm=transform, is_train=False
        )
    dataset = TestImageDataset(items, transform, _active)
    return DataLoader(dataset, batch_size=part.BATCH_SIZE, collate_fn=_as_it_is)


def _as_it_is(batch: dict[str, Any]) -> dict[str, Any]:
    return batch
