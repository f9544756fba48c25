"""Five corruptions of an image at five stated severities: what a test of robustness does to it.

They stand for what changes between centres: focus (blur), storage (jpeg), stain or colour of the
lamp (stain), gain or exposure (gain), and the sensor (noise). Each level is a number with a unit in
``LEVELS``, the same for every image. The only random one is noise; its numbers come from the
image's name, so that an image is corrupted alike in any order and on any machine.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from cerviclip.data.variants.recipes import generator_of

SEVERITIES = (1, 2, 3, 4, 5)
#: kind -> what its level is, and the level of each severity.
LEVELS: dict[str, tuple[str, tuple[float, ...]]] = {
    "blur": ("sd of a Gaussian, % of the shorter side", (0.4, 0.8, 1.2, 1.8, 2.6)),
    "jpeg": ("JPEG quality", (60, 40, 25, 15, 8)),
    "stain": ("change of the two stains' density, %", (10, 20, 35, 50, 70)),
    "gain": ("factor of all brightness", (0.85, 0.7, 0.55, 0.4, 0.28)),
    "noise": ("sd of added noise, of 255", (4, 8, 14, 22, 32)),
}
# Optical density of haematoxylin, eosin and what is left, by colour channel (Ruifrok and Johnston
# 2001). Papanicolaou's stain has haematoxylin too; its other dyes fall to the second row.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
_DARKEST = 1.0  # of 255; below it a density would have no end


def corrupt(image: Image.Image, kind: str, severity: int, name: str) -> Image.Image:
    """An image of the same size, corrupted; itself at severity 0.

    Args:
        image: 8-bit RGB.
        kind: a key of ``LEVELS``.
        severity: 0 to 5.
        name: what the noise hangs on, such as the path below the data's root.
    """
    if severity == 0:
        return image
    return _RECIPES[kind](image, LEVELS[kind][1][severity - 1], name)


def _blur(image: Image.Image, percent: float, name: str) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(percent / 100 * min(image.size)))


def _jpeg(image: Image.Image, quality: float, name: str) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "jpeg", quality=int(quality))
    with Image.open(file) as stored:
        return stored.convert("RGB")


def _stain(image: Image.Image, percent: float, name: str) -> Image.Image:
    """More of the first stain and less of the second, in optical density."""
    pixels = np.maximum(np.asarray(image, np.float64), _DARKEST)
    unit = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
    density = -np.log(pixels / 255) @ np.linalg.inv(unit)
    density *= np.array([1 + percent / 100, 1 - percent / 100, 1.0])
    return _bytes(255 * np.exp(-(density @ unit)))


def _gain(image: Image.Image, factor: float, name: str) -> Image.Image:
    return _bytes(np.asarray(image, np.float64) * factor)


def _noise(image: Image.Image, sd: float, name: str) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    noise = generator_of(name, 0, "corruption").standard_normal(pixels.shape, np.float32)
    return _bytes(pixels + noise * np.float32(sd))


def _bytes(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(pixels.clip(0, 255)).astype(np.uint8))


_RECIPES: dict[str, Callable[[Image.Image, float, str], Image.Image]] = {
    "blur": _blur,
    "jpeg": _jpeg,
    "stain": _stain,
    "gain": _gain,
    "noise": _noise,
}
