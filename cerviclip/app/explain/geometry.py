"""From what a model sees of an image (resized, cropped or padded) back to the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop, Resize

from cerviclip.data.roi.finder import steps_of
from dassl.data.transforms.transforms import ResizeLonger
from dassl.errors import UserError


@dataclass(frozen=True)
class _Axis:
    """One axis: a place x of the image (px, its first pixel's centre is 0) lies at
    ``scale * (x + 0.5) + shift - 0.5`` of the view.

    Attributes:
        length: of the image in px.
        seen: of the view in px.
    """

    length: int
    scale: float
    shift: float
    seen: int

    def places(self) -> np.ndarray:
        """Where the view holds each pixel of the image; below -0.5 or beyond its end: nowhere."""
        return self.scale * (np.arange(self.length) + 0.5) + self.shift - 0.5

    def span(self) -> tuple[int, int]:
        """First and last-plus-one pixel of the image whose centre the view holds."""
        places = self.places()
        inside = np.flatnonzero((places >= -0.5) & (places <= self.seen - 0.5))
        return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)

    def weights(self) -> np.ndarray:
        """(length, seen) that interpolates linearly; rows of what is not seen are 0."""
        places = self.places()
        unseen = (places < -0.5) | (places > self.seen - 0.5)
        places = places.clip(0, self.seen - 1)
        low = np.floor(places).astype(int).clip(0, max(0, self.seen - 2))
        part = places - low
        found = np.zeros((self.length, self.seen), np.float32)
        rows = np.arange(self.length)
        found[rows, low] = 1 - part
        found[rows, np.minimum(low + 1, self.seen - 1)] += part
        found[unseen] = 0
        return found


@dataclass(frozen=True)
class ViewGeometry:
    """How an image of one size comes to a model's input."""

    rows: _Axis
    columns: _Axis

    @classmethod
    def of(cls, transform: Any, image: Image.Image, seen: tuple[int, int]) -> ViewGeometry:
        """The geometry of a test transform, read off its steps on this image.

        Args:
            transform: torchvision's; resizes, centre crops and steps that move no pixel.
            image: what goes in.
            seen: (height, width) of what comes out, in px.

        Raises:
            UserError: the transform moves pixels in a way that is not known.
        """
        width, height = image.size
        scales, shifts, size = [1.0, 1.0], [0.0, 0.0], (height, width)
        current = Image.new("RGB", image.size)
        for step in steps_of(transform) if transform is not None else []:
            if not isinstance(current, Image.Image):
                break  # what follows works on the tensor's values
            current = step(current)
            if not isinstance(current, Image.Image):
                continue
            after = (current.height, current.width)
            if after != size and not isinstance(step, (CenterCrop, Resize, ResizeLonger)):
                raise UserError(
                    f"the run's test transform has a step {type(step).__name__} that cannot be "
                    "traced back; maps need resizes and centre crops"
                )
            for axis in (0, 1):
                if isinstance(step, CenterCrop):
                    shifts[axis] -= _crop_start(size[axis], after[axis])
                elif after[axis] != size[axis]:
                    factor = after[axis] / size[axis]
                    scales[axis] *= factor
                    shifts[axis] *= factor
            size = after
        if size != seen:
            raise UserError(
                f"the run's test transform makes {seen[1]}x{seen[0]} px of {width}x{height} px by "
                "steps that cannot be traced back; maps need resizes and centre crops of images"
            )
        axes = [_Axis((height, width)[i], scales[i], shifts[i], seen[i]) for i in (0, 1)]
        return cls(*axes)

    def to_image(self, view: np.ndarray) -> np.ndarray:
        """A map (h, w) of the view on the image (H, W), float32; 0 where the model saw nothing."""
        return self.rows.weights() @ view.astype(np.float32) @ self.columns.weights().T

    def seen_box(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the part of the image that the model saw, in px."""
        (top, bottom), (left, right) = self.rows.span(), self.columns.span()
        return top, left, bottom, right


def _crop_start(length: int, wanted: int) -> int:
    """Where torchvision's centre crop begins; negative where it pads."""
    if wanted > length:
        return -((wanted - length) // 2)
    return int(round((length - wanted) / 2.0))
