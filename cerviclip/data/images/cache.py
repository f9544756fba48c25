"""Decoded images and resized test images, kept in memory by the runs of one process, or read from
a pack that was made before.

Off until `enable` is called, which our own runner does: foreign code decodes as it always did. A
cached image has the very bytes that Pillow decodes, and a test image resized once has the very bits
that its transform gives each time.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose

from cerviclip.data.images.packs import Pack
from cerviclip.data.images.steps import DECODED, DETERMINISTIC, first_steps, steps_text
from dassl.utils import images
from dassl.utils.deep_images import windows_of

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from dassl.data.datasets import Datum

DEFAULT_BYTES = 2**30


class ImageCache:
    """Arrays of bytes by file and step, the longest unused dropped first.

    Args:
        max_bytes: bound on the sum of the arrays.
        pack: asked first; what comes from there is not kept here.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES, pack: Pack | None = None) -> None:
        self.max_bytes = max_bytes
        self.pack = pack
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._items: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._split: WeakKeyDictionary[Any, tuple[str, Any]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def get(self, path: str, step: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of ``step`` on the file as it is now, from ``make`` the first time.

        Callers must not write to it.
        """
        packed = None if self.pack is None else self.pack.get(path, step)
        if packed is not None:
            return packed
        stat = os.stat(path)
        name = os.path.abspath(path)
        key = (name, stat.st_size, stat.st_mtime_ns, windows_of(name), step)
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
        if not os.path.exists(path):
            return decode(path)  # which says what is wrong
        return Image.fromarray(self.get(path, DECODED, lambda: np.array(decode(path))))

    def begun(self, path: str, transform: Any) -> tuple[Any, Image.Image] | None:
        """The transform without its first steps, and the packed image behind these; None where the
        pack lacks it."""
        if self.pack is None:
            return None
        if type(transform) is not Compose:  # it need be no key
            text, rest = DECODED, None
        elif transform in self._split:
            text, rest = self._split[transform]
        else:
            steps, others = first_steps(transform)
            text, rest = steps_text(steps), others if steps else None
            self._split[transform] = text, rest
        packed = self.pack.get(path, text)
        return None if packed is None else (rest or transform, Image.fromarray(packed))

    def for_workers(self) -> ImageCache | None:
        """What a process that starts afresh takes over: the pack, if there is one."""
        return None if self.pack is None else ImageCache(self.max_bytes, self.pack)

    def __getstate__(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes, "pack": self.pack}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


_active: ImageCache | None = None


def enable(max_bytes: int = DEFAULT_BYTES) -> ImageCache:
    """Keep images from now on; a second call keeps what is there."""
    global _active
    if _active is None or _active.max_bytes != max_bytes:
        _active = ImageCache(max_bytes)
    images.decoded_cache = _active
    return _active


def disable() -> None:
    """Forget all images and decode anew each time."""
    global _active
    _active = images.decoded_cache = None


def active() -> ImageCache | None:
    """The cache in use, None when off."""
    return _active


class PlainPixels:
    """A deterministic transform taken apart: steps on 8-bit images, whose result may be kept, and
    one normalisation that a whole batch shares.

    Args:
        transform: of the form [first steps that draw nothing ..., ToTensor, Normalize].
    """

    def __init__(self, transform: Any) -> None:
        parts = _split(transform)
        if parts is None:
            raise ValueError(f"not a plain test transform: {transform}")
        self.steps, mean, std = parts
        self.mean = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
        self.std = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1)
        self.text = steps_text(self.steps)

    @staticmethod
    def possible(transform: Any) -> bool:
        """Whether a transform has the form that can be taken apart."""
        return _split(transform) is not None

    def bytes_of(self, path: str) -> np.ndarray:
        """The resized image (H, W, 3), 8 bits; kept where the cache is on. Not to be written to."""
        if _active is None:
            return self._make(path)
        return _active.get(path, self.text, lambda: self._make(path))

    def tensor(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """Normalised pixels (B, 3, H, W), bit for bit what the transform gives for each image."""
        pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
        pixels = pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        return pixels.sub_(self.mean).div_(self.std)

    def _make(self, path: str) -> np.ndarray:
        # Past the cache of decoded images: once resized the whole image is not needed again.
        image = images.decode_image(path)
        for step in self.steps:
            image = step(image)
        return np.array(image)


def _split(transform: Any) -> tuple[list[Callable], Sequence[float], Sequence[float]] | None:
    from torchvision.transforms import Normalize, ToTensor

    steps = list(getattr(transform, "transforms", []))
    places = [i for i, step in enumerate(steps) if isinstance(step, ToTensor)]
    if len(places) != 1:
        return None
    before, after = steps[: places[0]], steps[places[0] + 1 :]
    if not all(type(step) in DETERMINISTIC for step in before):
        return None
    if len(after) > 1 or not all(isinstance(step, Normalize) for step in after):
        return None
    return before, after[0].mean if after else [0.0] * 3, after[0].std if after else [1.0] * 3


class PlainImages(Dataset):
    """Images behind a deterministic transform, resized once per process.

    Args:
        items: the images.
        pixels: the transform.
    """

    def __init__(self, items: Sequence[Datum], pixels: PlainPixels) -> None:
        self.data_source = items
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        items = [self.data_source[i] for i in indices]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow lets go of the GIL
            arrays = list(pool.map(self.pixels.bytes_of, [item.impath for item in items]))
        return {
            "label": torch.tensor([item.label for item in items]),
            "domain": torch.tensor([item.domain for item in items]),
            "impath": [item.impath for item in items],
            "index": torch.tensor(indices),
            "img": self.pixels.tensor(arrays),
        }


def build_image_loader(cfg: CfgNode, items: Sequence[Datum], transform: Any) -> DataLoader:
    """A loader of pixels for a test, in the items' order; resized images are kept if the cache is
    on."""
    from dassl.data.data_manager import build_data_loader

    part = cfg.DATALOADER.TEST
    plain = PlainPixels.possible(transform) and not cfg.DATALOADER.RETURN_IMG0
    if _active is None or not plain:
        return build_data_loader(
            cfg, part.SAMPLER, items, batch_size=part.BATCH_SIZE, tfm=transform, is_train=False
        )
    dataset = PlainImages(items, PlainPixels(transform))
    return DataLoader(dataset, batch_size=part.BATCH_SIZE, collate_fn=cast(Any, as_it_is))


def as_it_is(batch: dict[str, Any]) -> dict[str, Any]:
    """The ``collate_fn`` of data sets whose ``__getitems__`` gives a whole batch already."""
    return batch
