"""Pixels for the encoder: decoded by threads while it works, views drawn from their own seeds."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cerviclip.data.images.cache import PlainPixels
from cerviclip.data.images.views import describe_transform, make_view
from dassl.utils.images import BegunImage


class ImageView(NamedTuple):
    """One row to be made: a view of an image file."""

    path: str
    sha256: str
    view: int


class PixelReader:
    """Files to pixels behind one transform.

    Args:
        transform: image to pixels.
        seeded: the transform is random; its draws then come from image, view and transform alone.
    """

    def __init__(self, transform: Callable, seeded: bool) -> None:
        self.transform = transform
        self.seeded = seeded
        self.text = describe_transform(transform)
        self.plain: PlainPixels | None = None
        if not seeded and PlainPixels.possible(transform):
            self.plain = PlainPixels(transform)  # resized bytes serve image trainers of a sweep too

    def batches(self, views: Sequence[ImageView], size: int, threads: int) -> Iterator[Tensor]:
        """Pixels (B, 3, H, W), B = ``size`` but for the last."""
        with ThreadPoolExecutor(threads) as pool:
            waiting: deque[Any] = deque()
            for start in range(0, len(views), size):
                while len(waiting) < 2 * size and start + len(waiting) < len(views):
                    waiting.append(pool.submit(self._decode, views[start + len(waiting)]))
                batch = views[start : start + size]
                yield self._finish(batch, [waiting.popleft().result() for _ in batch])

    def _decode(self, view: ImageView) -> Any:
        """What threads may do at once: nothing that touches the global generators."""
        if self.plain is not None:
            return self.plain.bytes_of(view.path)
        transform, image = BegunImage(view.path).behind(self.transform)
        return (transform, image) if self.seeded else transform(image)

    def _finish(self, views: Sequence[ImageView], decoded: Sequence[Any]) -> Tensor:
        if self.plain is not None:
            return self.plain.tensor(decoded)
        if not self.seeded:
            return torch.stack(list(decoded))
        made = [
            make_view(image, transform, self.text, view.sha256, view.view)
            for view, (transform, image) in zip(views, decoded, strict=True)
        ]
        return torch.stack(made)


def decode_threads(device: torch.device) -> int:
    """On a CPU the encoder needs the cores; a GPU waits for all that there are, up to 8."""
    cores = os.cpu_count() or 1
    return min(8, cores) if device.type == "cuda" else max(1, min(4, cores // 2))
