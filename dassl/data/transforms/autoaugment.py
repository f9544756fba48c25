"""AutoAugment's learned policies (Cubuk et al. 2019, arXiv:1805.09501, tables 7 to 9).

A policy is a list of pairs of operations, each with a probability and a magnitude level 0-9; one
pair is chosen per image. Draws come from ``random`` in upstream's order.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from PIL import Image, ImageEnhance, ImageOps

GREY = (128, 128, 128)
Colour = tuple[int, int, int]

# Magnitude at level 9 as the paper's table 6 gives it, level 0 being no change.
_HIGHEST = {
    "shearX": 0.3,
    "shearY": 0.3,
    "translateX": 150 / 331,
    "translateY": 150 / 331,
    "rotate": 30.0,
    "color": 0.9,
    "contrast": 0.9,
    "sharpness": 0.9,
    "brightness": 0.9,
}
_POSTERIZE_BITS = (8, 8, 7, 7, 6, 6, 5, 5, 4, 4)


def _magnitude(operation: str, level: int) -> float:
    if operation == "posterize":
        return _POSTERIZE_BITS[level]
    if operation == "solarize":
        return 256 - level * (256 / 9)
    return _HIGHEST.get(operation, 0.0) * level / 9


def _sign() -> int:
    return random.choice([-1, 1])


def _affine(
    img: Image.Image, matrix: tuple[float, ...], fill: Colour, resample: Image.Resampling
) -> Image.Image:
    return img.transform(
        img.size, Image.Transform.AFFINE, matrix, resample=resample, fillcolor=fill
    )


def _rotate(img: Image.Image, degrees: float, fill: Colour) -> Image.Image:
    """Rotate over a grey ground (upstream's, whatever the fill colour)."""
    turned = img.convert("RGBA").rotate(degrees)
    ground = Image.new("RGBA", turned.size, (128,) * 4)
    return Image.composite(turned, ground, turned).convert(img.mode)


def _enhance(kind: type) -> Callable[[Image.Image, float, Colour], Image.Image]:
    return lambda img, m, fill: kind(img).enhance(1 + m * _sign())


_CUBIC, _NEAREST = Image.Resampling.BICUBIC, Image.Resampling.NEAREST
_OPERATIONS: dict[str, Callable[[Image.Image, float, Colour], Image.Image]] = {
    "shearX": lambda img, m, fill: _affine(img, (1, m * _sign(), 0, 0, 1, 0), fill, _CUBIC),
    "shearY": lambda img, m, fill: _affine(img, (1, 0, 0, m * _sign(), 1, 0), fill, _CUBIC),
    "translateX": lambda img, m, fill: _affine(
        img, (1, 0, m * img.size[0] * _sign(), 0, 1, 0), fill, _NEAREST
    ),
    "translateY": lambda img, m, fill: _affine(
        img, (1, 0, 0, 0, 1, m * img.size[1] * _sign()), fill, _NEAREST
    ),
    "rotate": _rotate,
    "color": _enhance(ImageEnhance.Color),
    "contrast": _enhance(ImageEnhance.Contrast),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "brightness": _enhance(ImageEnhance.Brightness),
    "posterize": lambda img, m, fill: ImageOps.posterize(img, int(m)),
    "solarize": lambda img, m, fill: ImageOps.solarize(img, math.ceil(m)),
    "autocontrast": lambda img, m, fill: ImageOps.autocontrast(img),
    "equalize": lambda img, m, fill: ImageOps.equalize(img),
    "invert": lambda img, m, fill: ImageOps.invert(img),
}


class SubPolicy:
    """Two operations in a row, each with its probability and level."""

    def __init__(
        self,
        p1: float,
        operation1: str,
        magnitude_idx1: int,
        p2: float,
        operation2: str,
        magnitude_idx2: int,
        fillcolor: Colour = GREY,
    ) -> None:
        self.steps = [
            (p1, _OPERATIONS[operation1], _magnitude(operation1, magnitude_idx1)),
            (p2, _OPERATIONS[operation2], _magnitude(operation2, magnitude_idx2)),
        ]
        self.fillcolor = fillcolor

    def __call__(self, img: Image.Image) -> Image.Image:
        for p, operation, magnitude in self.steps:
            if random.random() < p:
                img = operation(img, magnitude, self.fillcolor)
        return img


class _Policy:
    """One of the sub-policies of ``TABLE``, chosen anew for each image."""

    TABLE = ""

    def __init__(self, fillcolor: Colour = GREY) -> None:
        self.policies = []
        for line in self.TABLE.strip().splitlines():
            name1, p1, level1, name2, p2, level2 = line.split()
            self.policies.append(
                SubPolicy(float(p1), name1, int(level1), float(p2), name2, int(level2), fillcolor)
            )

    def __call__(self, img: Image.Image) -> Image.Image:
        return self.policies[random.randint(0, len(self.policies) - 1)](img)

    def __repr__(self) -> str:
        return f"AutoAugment {type(self).__name__}"


class ImageNetPolicy(_Policy):
    """The policy learned on ImageNet."""

    TABLE = """
posterize 0.4 8     rotate 0.6 9
solarize 0.6 5      autocontrast 0.6 5
equalize 0.8 8      equalize 0.6 3
posterize 0.6 7     posterize 0.6 6
equalize 0.4 7      solarize 0.2 4
equalize 0.4 4      rotate 0.8 8
solarize 0.6 3      equalize 0.6 7
posterize 0.8 5     equalize 1.0 2
rotate 0.2 3        solarize 0.6 8
equalize 0.6 8      posterize 0.4 6
rotate 0.8 8        color 0.4 0
rotate 0.4 9        equalize 0.6 2
equalize 0.0 7      equalize 0.8 8
invert 0.6 4        equalize 1.0 8
color 0.6 4         contrast 1.0 8
rotate 0.8 8        color 1.0 2
color 0.8 8         solarize 0.8 7
sharpness 0.4 7     invert 0.6 8
shearX 0.6 5        equalize 1.0 9
color 0.4 0         equalize 0.6 3
equalize 0.4 7      solarize 0.2 4
solarize 0.6 5      autocontrast 0.6 5
invert 0.6 4        equalize 1.0 8
color 0.6 4         contrast 1.0 8
equalize 0.8 8      equalize 0.6 3
"""


class CIFAR10Policy(_Policy):
    """The policy learned on CIFAR-10."""

    TABLE = """
invert 0.1 7        contrast 0.2 6
rotate 0.7 2        translateX 0.3 9
sharpness 0.8 1     sharpness 0.9 3
shearY 0.5 8        translateY 0.7 9
autocontrast 0.5 8  equalize 0.9 2
shearY 0.2 7        posterize 0.3 7
color 0.4 3         brightness 0.6 7
sharpness 0.3 9     brightness 0.7 9
equalize 0.6 5      equalize 0.5 1
contrast 0.6 7      sharpness 0.6 5
color 0.7 7         translateX 0.5 8
equalize 0.3 7      autocontrast 0.4 8
translateY 0.4 3    sharpness 0.2 6
brightness 0.9 6    color 0.2 8
solarize 0.5 2      invert 0.0 3
equalize 0.2 0      autocontrast 0.6 0
equalize 0.2 8      equalize 0.6 4
color 0.9 9         equalize 0.6 6
autocontrast 0.8 4  solarize 0.2 8
brightness 0.1 3    color 0.7 0
solarize 0.4 5      autocontrast 0.9 3
translateY 0.9 9    translateY 0.7 9
autocontrast 0.9 2  solarize 0.8 3
equalize 0.8 8      invert 0.1 3
translateY 0.7 9    autocontrast 0.9 1
"""


class SVHNPolicy(_Policy):
    """The policy learned on SVHN."""

    TABLE = """
shearX 0.9 4        invert 0.2 3
shearY 0.9 8        invert 0.7 5
equalize 0.6 5      solarize 0.6 6
invert 0.9 3        equalize 0.6 3
equalize 0.6 1      rotate 0.9 3
shearX 0.9 4        autocontrast 0.8 3
shearY 0.9 8        invert 0.4 5
shearY 0.9 5        solarize 0.2 6
invert 0.9 6        autocontrast 0.8 1
equalize 0.6 3      rotate 0.9 3
shearX 0.9 4        solarize 0.3 3
shearY 0.8 8        invert 0.7 4
equalize 0.9 5      translateY 0.6 6
invert 0.9 4        equalize 0.6 7
contrast 0.3 3      rotate 0.8 4
invert 0.8 5        translateY 0.0 2
shearY 0.7 6        solarize 0.4 8
invert 0.6 4        rotate 0.8 4
shearY 0.3 7        translateX 0.9 3
shearX 0.1 6        invert 0.6 5
solarize 0.7 2      translateY 0.6 7
shearY 0.8 4        invert 0.8 8
shearX 0.7 9        translateY 0.8 3
shearY 0.8 5        autocontrast 0.7 3
shearX 0.7 2        invert 0.1 5
"""
