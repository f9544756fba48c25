"""RandAugment (Cubuk et al. 2019, arXiv:1909.13719) and two variants, upstream's three choices.

Each operation is a function of an image and a magnitude. The order of the draws from ``random``
(and ``numpy.random`` for the cut-out) is upstream's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

Operation = Callable[[Image.Image, float], Image.Image]
Choice = tuple[Operation, float, float]  # an operation with its lowest and highest magnitude


def _signed(value: float) -> float:
    """Turn the magnitude round in half of the calls."""
    return -value if random.random() > 0.5 else value


def _affine(img: Image.Image, *matrix: float) -> Image.Image:
    return img.transform(img.size, Image.Transform.AFFINE, matrix)


def shear_x(img: Image.Image, v: float) -> Image.Image:
    return _affine(img, 1, _signed(v), 0, 0, 1, 0)


def shear_y(img: Image.Image, v: float) -> Image.Image:
    return _affine(img, 1, 0, 0, _signed(v), 1, 0)


def translate_x(img: Image.Image, v: float) -> Image.Image:
    """Shift by a fraction of the width."""
    return _affine(img, 1, 0, _signed(v) * img.size[0], 0, 1, 0)


def translate_y(img: Image.Image, v: float) -> Image.Image:
    """Shift by a fraction of the height."""
    return _affine(img, 1, 0, 0, 0, 1, _signed(v) * img.size[1])


def translate_x_px(img: Image.Image, v: float) -> Image.Image:
    return _affine(img, 1, 0, _signed(v), 0, 1, 0)


def translate_y_px(img: Image.Image, v: float) -> Image.Image:
    return _affine(img, 1, 0, 0, 0, 1, _signed(v))


def rotate(img: Image.Image, v: float) -> Image.Image:
    return img.rotate(_signed(v))


def auto_contrast(img: Image.Image, _: float) -> Image.Image:
    return ImageOps.autocontrast(img)


def invert(img: Image.Image, _: float) -> Image.Image:
    return ImageOps.invert(img)


def equalize(img: Image.Image, _: float) -> Image.Image:
    return ImageOps.equalize(img)


def identity(img: Image.Image, _: float) -> Image.Image:
    return img


def solarize(img: Image.Image, v: float) -> Image.Image:
    return ImageOps.solarize(img, math.ceil(v))  # same pixels: grey values are whole


def solarize_add(img: Image.Image, v: float, threshold: int = 128) -> Image.Image:
    """Brighten by ``v``, then invert all that lies above the threshold."""
    brighter = np.clip(np.asarray(img).astype(int) + v, 0, 255).astype(np.uint8)
    return ImageOps.solarize(Image.fromarray(brighter), threshold)


def posterize(img: Image.Image, v: float) -> Image.Image:
    return ImageOps.posterize(img, int(v))


def contrast(img: Image.Image, v: float) -> Image.Image:
    return ImageEnhance.Contrast(img).enhance(v)


def color(img: Image.Image, v: float) -> Image.Image:
    return ImageEnhance.Color(img).enhance(v)


def brightness(img: Image.Image, v: float) -> Image.Image:
    return ImageEnhance.Brightness(img).enhance(v)


def sharpness(img: Image.Image, v: float) -> Image.Image:
    return ImageEnhance.Sharpness(img).enhance(v)


def cutout_px(img: Image.Image, v: float) -> Image.Image:
    """Fill a square of ``v`` px with ImageNet's mean colour."""
    if v < 0:
        return img
    width, height = img.size
    x = np.random.uniform(width)
    y = np.random.uniform(height)
    left, top = int(max(0, x - v / 2)), int(max(0, y - v / 2))
    img = img.copy()
    box = (left, top, min(width, left + v), min(height, top + v))
    ImageDraw.Draw(img).rectangle(box, (125, 123, 114))
    return img


# Operations and ranges of the TPU reference code of AutoAugment's authors.
RANDAUGMENT: list[Choice] = [
    (auto_contrast, 0, 1),
    (equalize, 0, 1),
    (invert, 0, 1),
    (rotate, 0, 30),
    (posterize, 4, 8),
    (solarize, 0, 256),
    (solarize_add, 0, 110),
    (color, 0.1, 1.9),
    (contrast, 0.1, 1.9),
    (brightness, 0.1, 1.9),
    (sharpness, 0.1, 1.9),
    (shear_x, 0.0, 0.3),
    (shear_y, 0.0, 0.3),
    (cutout_px, 0, 40),
    (translate_x_px, 0.0, 100),
    (translate_y_px, 0.0, 100),
]

RANDAUGMENT2: list[Choice] = [
    (auto_contrast, 0, 1),
    (brightness, 0.1, 1.9),
    (color, 0.1, 1.9),
    (contrast, 0.1, 1.9),
    (equalize, 0, 1),
    (identity, 0, 1),
    (invert, 0, 1),
    (posterize, 4, 8),
    (rotate, -30, 30),
    (sharpness, 0.1, 1.9),
    (shear_x, -0.3, 0.3),
    (shear_y, -0.3, 0.3),
    (solarize, 0, 256),
    (translate_x, -0.3, 0.3),
    (translate_y, -0.3, 0.3),
]

# FixMatch (Sohn et al. 2020, arXiv:2001.07685), table 12.
FIXMATCH: list[Choice] = [
    (auto_contrast, 0, 1),
    (brightness, 0.05, 0.95),
    (color, 0.05, 0.95),
    (contrast, 0.05, 0.95),
    (equalize, 0, 1),
    (identity, 0, 1),
    (posterize, 4, 8),
    (rotate, -30, 30),
    (sharpness, 0.05, 0.95),
    (shear_x, -0.3, 0.3),
    (shear_y, -0.3, 0.3),
    (solarize, 0, 256),
    (translate_x, -0.3, 0.3),
    (translate_y, -0.3, 0.3),
]


class RandAugment:
    """``n`` random operations, all with magnitude ``m`` of 30."""

    def __init__(self, n: int = 2, m: float = 10) -> None:
        if not 0 <= m <= 30:
            raise ValueError(f"RandAugment's magnitude lies in 0-30, got {m} (INPUT.RANDAUGMENT_M)")
        self.n = n
        self.m = m
        self.augment_list = RANDAUGMENT

    def __call__(self, img: Image.Image) -> Image.Image:
        for operation, low, high in random.choices(self.augment_list, k=self.n):
            img = operation(img, (self.m / 30) * (high - low) + low)
        return img


class RandAugment2:
    """``n`` random operations, each with probability ``p`` and a random magnitude."""

    def __init__(self, n: int = 2, p: float = 0.6) -> None:
        self.n = n
        self.p = p
        self.augment_list = RANDAUGMENT2

    def __call__(self, img: Image.Image) -> Image.Image:
        for operation, low, high in random.choices(self.augment_list, k=self.n):
            if random.random() <= self.p:
                img = operation(img, random.random() * (high - low) + low)
        return img


class RandAugmentFixMatch:
    """``n`` random operations with random magnitudes: FixMatch's strong view."""

    def __init__(self, n: int = 2) -> None:
        self.n = n
        self.augment_list = FIXMATCH

    def __call__(self, img: Image.Image) -> Image.Image:
        for operation, low, high in random.choices(self.augment_list, k=self.n):
            img = operation(img, random.random() * (high - low) + low)
        return img
