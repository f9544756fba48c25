"""The fourteen variants of an image: four turns and mirrorings, four affine maps, three filters,
three changes of colour (system E's affine, filters and colour channels).

Every random number comes from the image's name, the seed and the variant's name alone, so that a
variant is the same in any order, on any machine and with any number of processes. What a map brings
in from outside is mirrored at the border: black corners would tell a variant from an original.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import cos, radians, sin, tan

import numpy as np
from PIL import Image, ImageFilter

#: Of what a seed makes; part of the record beside the variants.
VERSION = 1

Recipe = Callable[[Image.Image, np.random.Generator], Image.Image]


def generator_of(name: str, seed: int, kind: str) -> np.random.Generator:
    """The random generator of one variant of one image."""
    key = f"{VERSION}\x1f{seed}\x1f{kind}\x1f{name}".encode("utf-8", "surrogateescape")
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8], "big"))


def make_variant(image: Image.Image, kind: str, name: str, seed: int) -> Image.Image:
    """One variant, of the image's size (a quarter turn changes sides).

    Args:
        image: 8-bit RGB, upright.
        kind: a key of ``RECIPES``.
        name: what the randomness hangs on, such as ``HSIL/001.bmp``.
        seed: another seed gives other variants.
    """
    return RECIPES[kind](image, generator_of(name, seed, kind))


def _turned(how: Image.Transpose) -> Recipe:
    return lambda image, _: image.transpose(how)


def _either(rng: np.random.Generator, low: float, high: float) -> float:
    """A value between ``low`` and ``high`` with a random sign: never next to no change."""
    return float(rng.uniform(low, high) * rng.choice((-1, 1)))


def affine(image: Image.Image, inner: np.ndarray, move: np.ndarray) -> Image.Image:
    """An image under an affine map about its centre, mirrored beyond its border.

    Args:
        image: 8-bit RGB.
        inner: (2, 2), takes a point of the result, from the centre in px, to one of the image.
        move: (2,), px, added to it.
    """
    width, height = image.size
    corners = np.array([[x, y] for x in (-width / 2, width / 2) for y in (-height / 2, height / 2)])
    beyond = np.abs(corners @ inner.T + move).max(axis=0) - (width / 2, height / 2)
    pad_x, pad_y = (int(np.ceil(max(value, 0))) + 2 for value in beyond)
    pixels = np.pad(np.asarray(image), ((pad_y, pad_y), (pad_x, pad_x), (0, 0)), "symmetric")
    # Image.transform wants x_in = a x + b y + c from the upper left corner of the result.
    center = np.array([width / 2, height / 2])
    offset = center + (pad_x, pad_y) + move - inner @ center
    matrix = (*inner[0], offset[0], *inner[1], offset[1])
    return Image.fromarray(pixels).transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )


def _rotate(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    angle = radians(_either(rng, 10, 35))
    inner = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    return affine(image, inner, np.zeros(2))


def _shear(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    slope = tan(radians(_either(rng, 6, 15)))
    inner = np.array([[1.0, slope], [0.0, 1.0]]) if rng.random() < 0.5 else np.eye(2)
    if inner[0, 1] == 0:
        inner[1, 0] = slope
    return affine(image, inner, np.zeros(2))


def _zoom(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    factor = float(rng.uniform(0.75, 0.9)) if rng.random() < 0.5 else float(rng.uniform(1.1, 1.25))
    return affine(image, np.eye(2) / factor, np.zeros(2))


def _shift(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    share = np.array([_either(rng, 0.05, 0.15), _either(rng, 0.05, 0.15)])
    return affine(image, np.eye(2), np.rint(share * image.size))


def _blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    # In shares of the shorter side: 1 px is much in a crop of 60 px and nothing in a field.
    radius = float(rng.uniform(0.8, 1.4)) * max(0.8, 0.007 * min(image.size))
    return image.filter(ImageFilter.GaussianBlur(radius))


def _sharpen(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    radius = max(1.0, 0.008 * min(image.size))
    return image.filter(ImageFilter.UnsharpMask(radius, int(rng.integers(90, 171)), 0))


def _noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(5, 10))
    return _bytes(pixels + noise)


def _light(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Contrast, gamma."""
    pixels = np.asarray(image, np.float32) / 255
    gamma, contrast = np.exp(_either(rng, 0.12, 0.3)), np.exp(_either(rng, 0.08, 0.2))
    middle = pixels.mean()
    return _bytes(255 * (middle + contrast * (pixels - middle)).clip(0, 1) ** gamma)


def _channels(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Each colour channel by a factor of its own, as of another lamp or camera."""
    pixels = np.asarray(image, np.float32)
    gains = rng.permutation([rng.uniform(0.88, 0.94), rng.uniform(0.97, 1.03), 1.06])
    return _bytes(pixels * gains.astype(np.float32))


def _stain(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Hue and saturation, as of another stain."""
    hue, saturation, value = image.convert("HSV").split()
    turn = round(_either(rng, 6, 14))  # of 256 steps round the circle
    gain = float(np.exp(_either(rng, 0.15, 0.35)))
    turned = hue.point([(level + turn) % 256 for level in range(256)])
    scaled = saturation.point([min(255, round(level * gain)) for level in range(256)])
    return Image.merge("HSV", (turned, scaled, value)).convert("RGB")


def _bytes(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(pixels.clip(0, 255)).astype(np.uint8))


#: kind -> recipe; a kind's place from 1 is the number in a variant's name.
RECIPES: dict[str, Recipe] = {
    "quarter": _turned(Image.Transpose.ROTATE_90),
    "half": _turned(Image.Transpose.ROTATE_180),
    "mirror": _turned(Image.Transpose.FLIP_LEFT_RIGHT),
    "flip": _turned(Image.Transpose.FLIP_TOP_BOTTOM),
    "rotate": _rotate,
    "shear": _shear,
    "zoom": _zoom,
    "shift": _shift,
    "blur": _blur,
    "sharpen": _sharpen,
    "noise": _noise,
    "light": _light,
    "channels": _channels,
    "stain": _stain,
}
NUMBERS = {kind: number for number, kind in enumerate(RECIPES, start=1)}
