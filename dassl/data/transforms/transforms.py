"""``build_transform``: from ``cfg.INPUT`` to a torchvision pipeline.

Order of the steps and sources of randomness (torch's global generator, ``random``, NumPy) are
upstream's, so that a seed gives upstream's augmented images.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torchvision.transforms.functional as F
from PIL import Image
from torchvision.transforms import (
    CenterCrop,
    ColorJitter,
    Compose,
    GaussianBlur,
    Normalize,
    RandomApply,
    RandomCrop,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
    ToTensor,
)
from torchvision.transforms.functional import InterpolationMode

from dassl.errors import UnknownNameError, UserError

from .autoaugment import CIFAR10Policy, ImageNetPolicy, SVHNPolicy
from .randaugment import RandAugment, RandAugment2, RandAugmentFixMatch
from .style import RandomStyleOfOne, StyleStrength

if TYPE_CHECKING:
    from yacs.config import CfgNode

AVAI_CHOICES = [
    "random_flip",
    "random_resized_crop",
    "normalize",
    "instance_norm",
    "random_crop",
    "random_translation",
    "center_crop",  # accepted for old yamls; the test transform always crops
    "cutout",
    "imagenet_policy",
    "cifar10_policy",
    "svhn_policy",
    "randaugment",
    "randaugment_fixmatch",
    "randaugment2",
    "gaussian_noise",
    "colorjitter",
    "randomgrayscale",
    "gaussian_blur",
    "random_vertical_flip",  # ours: cells, unlike B-scans, have no upper side
    "random_rotation",  # ours: cells lie at any angle
    "random_style",  # ours: gain, gamma, speckle, attenuation (style.py)
]

INTERPOLATION_MODES = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "nearest": InterpolationMode.NEAREST,
}


class Random2DTranslation:
    """Shift an image: enlarge it to 1.125 times the target size, then crop at random.

    Args:
        height: target height in px.
        width: target width in px.
        p: probability of the shift; otherwise the image is only resized.
        interpolation: how to resize.
    """

    def __init__(
        self,
        height: int,
        width: int,
        p: float = 0.5,
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
    ) -> None:
        self.height = height
        self.width = width
        self.p = p
        self.interpolation = interpolation

    def __call__(self, img: Image.Image) -> Image.Image:
        if random.uniform(0, 1) > self.p:
            return F.resize(img, [self.height, self.width], self.interpolation)
        large_w = int(round(self.width * 1.125))
        large_h = int(round(self.height * 1.125))
        large = F.resize(img, [large_h, large_w], self.interpolation)
        left = int(round(random.uniform(0, large_w - self.width)))
        top = int(round(random.uniform(0, large_h - self.height)))
        return F.crop(large, top, left, self.height, self.width)


class InstanceNormalization:
    """Give each channel of one image mean 0 and standard deviation 1."""

    def __init__(self, eps: float = 1e-8) -> None:
        self.eps = eps

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        mean = img.mean(dim=(1, 2), keepdim=True)
        std = img.std(dim=(1, 2), keepdim=True)
        return (img - mean) / (std + self.eps)


class Cutout:
    """Zero ``n_holes`` squares of ``length`` px, centred anywhere (DeVries & Taylor 2017)."""

    def __init__(self, n_holes: int = 1, length: int = 16) -> None:
        self.n_holes = n_holes
        self.length = length

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        height, width = img.shape[1:]
        mask = torch.ones(height, width)
        half = self.length // 2
        for _ in range(self.n_holes):
            y = np.random.randint(height)
            x = np.random.randint(width)
            mask[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 0.0
        return img * mask.expand_as(img)


class GaussianNoise:
    """Add Gaussian noise with probability ``p``."""

    def __init__(self, mean: float = 0, std: float = 0.15, p: float = 0.5) -> None:
        self.mean = mean
        self.std = std
        self.p = p

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        if random.uniform(0, 1) > self.p:
            return img
        return img + torch.randn(img.size()) * self.std + self.mean


class ResizeLonger:
    """Resize so that the longer edge is ``edge`` px; a centre crop then pads with black."""

    def __init__(self, edge: int, interpolation: InterpolationMode) -> None:
        self.edge = edge
        self.interpolation = interpolation

    def __call__(self, img: Any) -> Any:
        scale = self.edge / max(img.size)
        height, width = (max(1, round(side * scale)) for side in reversed(img.size))
        return F.resize(img, [height, width], self.interpolation)


class ShrinkShorter:
    """Resize so that the shorter edge is ``edge`` px; smaller images stay as they are."""

    def __init__(self, edge: int, interpolation: InterpolationMode) -> None:
        self.edge = edge
        self.interpolation = interpolation

    def __call__(self, img: Any) -> Any:
        if min(img.size) <= self.edge:
            return img
        return F.resize(img, self.edge, self.interpolation)


def build_transform(
    cfg: CfgNode,
    is_train: bool = True,
    choices: Sequence[str] | None = None,
    preprocess: Any = None,
    told: bool = True,
) -> Compose | None:
    """Build the transform that ``cfg.INPUT`` describes.

    Args:
        cfg: the config.
        is_train: with the random steps, or the deterministic test transform (resize the shorter
            side, crop the centre).
        choices: names of steps, instead of ``cfg.INPUT.TRANSFORMS``.
        preprocess: a backbone's own ``size mean std interpolation``, instead of the config's; the
            image is then normalised whether or not ``normalize`` is among the choices.
        told: print its steps.
    """
    if cfg.INPUT.NO_TRANSFORM:
        if told:
            print("Note: no transform is applied!")
        return None

    chosen = list(cfg.INPUT.TRANSFORMS if choices is None else choices)
    for choice in chosen:
        if choice not in AVAI_CHOICES:
            known = ", ".join(sorted(AVAI_CHOICES))
            raise UnknownNameError(
                f'unknown transform "{choice}" (INPUT.TRANSFORMS); known: {known}'
            )

    if preprocess is None:
        size, mode = tuple(cfg.INPUT.SIZE), cfg.INPUT.INTERPOLATION
        mean, std = cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD
    else:
        size, mode = tuple(preprocess.size), preprocess.interpolation
        mean, std = list(preprocess.mean), list(preprocess.std)
        if "normalize" not in chosen:
            chosen.append("normalize")
    if mode not in INTERPOLATION_MODES:
        known = ", ".join(INTERPOLATION_MODES)
        raise UnknownNameError(
            f'unknown interpolation "{mode}" (INPUT.INTERPOLATION); known: {known}'
        )

    normalize = _named(Normalize(mean=mean, std=std))
    if is_train:
        steps = _train_steps(cfg, chosen, size, INTERPOLATION_MODES[mode], normalize)
    else:
        fit = getattr(preprocess, "resize", "shortest")
        steps = _test_steps(chosen, size, INTERPOLATION_MODES[mode], normalize, fit)
    return _compose("train" if is_train else "test", steps, told)


def build_styled_transform(
    cfg: CfgNode, preprocess: Any, strength: StyleStrength | None
) -> Compose | None:
    """The training transform with a random style of its own strength among its steps.

    Args:
        cfg: the config, whose ``INPUT.TRANSFORMS`` is taken.
        preprocess: of the backbone.
        strength: of the style; None adds none.
    """
    choices = list(cfg.INPUT.TRANSFORMS)
    if strength is not None:
        cfg = cfg.clone()
        cfg.defrost()
        cfg.INPUT.STYLE = astuple(strength)
        choices.append("random_style")
    return build_transform(cfg, is_train=True, choices=choices, preprocess=preprocess)


def _build_transform_train(
    cfg: CfgNode, choices: Sequence[str], target_size: str, normalize: Normalize
) -> Compose:
    """Upstream's inner function of ``build_transform``, which some code calls.

    Args:
        cfg: the config.
        choices: names of steps.
        target_size: for upstream's log line; the config's size is taken.
        normalize: the step itself, used where it is among the choices.
    """
    del target_size
    size, mode = tuple(cfg.INPUT.SIZE), INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
    return _compose("train", _train_steps(cfg, choices, size, mode, _named(normalize)))


def _build_transform_test(
    cfg: CfgNode, choices: Sequence[str], target_size: str, normalize: Normalize
) -> Compose:
    """As ``_build_transform_train``."""
    del target_size
    size, mode = tuple(cfg.INPUT.SIZE), INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
    return _compose("test", _test_steps(choices, size, mode, _named(normalize)))


_Step = tuple[str, Callable]


def _named(normalize: Normalize) -> _Step:
    return f"normalization (mean={normalize.mean}, std={normalize.std})", normalize


def _compose(part: str, steps: list[_Step], told: bool = True) -> Compose:
    if told:
        print(f"Building transform_{part}")
        for text, _ in steps:
            print(f"+ {text}")
    composed = Compose([step for _, step in steps])
    composed.words = [text for text, _ in steps]  # what a run's results.json says of it
    return composed


def _train_steps(
    cfg: CfgNode,
    choices: Sequence[str],
    size: tuple[int, int],
    mode: InterpolationMode,
    normalize: _Step,
) -> list[_Step]:
    """Steps of the training transform, each with the words that the log shows for it."""
    inp = cfg.INPUT
    steps: list[_Step] = []
    if inp.RESIZE_FIRST:
        if inp.RESIZE_FIRST < min(size):
            raise UserError(
                f"INPUT.RESIZE_FIRST is {inp.RESIZE_FIRST} px, less than the network's input "
                f"({size[0]}x{size[1]}); take more, or 0 for none"
            )
        text = f"resize the smaller edge down to {inp.RESIZE_FIRST}"
        steps.append((text, ShrinkShorter(inp.RESIZE_FIRST, mode)))
    if "random_crop" not in choices and "random_resized_crop" not in choices:
        steps.append((f"resize to {size[0]}x{size[1]}", Resize(size, interpolation=mode)))

    # Order matters: it is the order of the steps, whatever the order of the choices.
    available: dict[str, Callable[[], _Step]] = {
        "random_rotation": lambda: (
            f"random rotation (up to {inp.ROTATION} degrees)",
            RandomRotation(inp.ROTATION, interpolation=InterpolationMode.BILINEAR),
        ),
        "random_translation": lambda: ("random translation", Random2DTranslation(*size)),
        "random_crop": lambda: (
            f"random crop (padding = {inp.CROP_PADDING})",
            RandomCrop(size, padding=inp.CROP_PADDING),
        ),
        "random_resized_crop": lambda: (
            f"random resized crop (size={size}, scale={inp.RRCROP_SCALE})",
            RandomResizedCrop(size, scale=inp.RRCROP_SCALE, interpolation=mode),
        ),
        "random_flip": lambda: ("random flip", RandomHorizontalFlip()),
        "random_vertical_flip": lambda: ("random vertical flip", RandomVerticalFlip()),
        "imagenet_policy": lambda: ("imagenet policy", ImageNetPolicy()),
        "cifar10_policy": lambda: ("cifar10 policy", CIFAR10Policy()),
        "svhn_policy": lambda: ("svhn policy", SVHNPolicy()),
        "randaugment": lambda: (
            f"randaugment (n={inp.RANDAUGMENT_N}, m={inp.RANDAUGMENT_M})",
            RandAugment(inp.RANDAUGMENT_N, inp.RANDAUGMENT_M),
        ),
        "randaugment_fixmatch": lambda: (
            f"randaugment_fixmatch (n={inp.RANDAUGMENT_N})",
            RandAugmentFixMatch(inp.RANDAUGMENT_N),
        ),
        "randaugment2": lambda: (
            f"randaugment2 (n={inp.RANDAUGMENT_N})",
            RandAugment2(inp.RANDAUGMENT_N),
        ),
        "colorjitter": lambda: (
            f"color jitter (brightness={inp.COLORJITTER_B}, contrast={inp.COLORJITTER_C}, "
            f"saturation={inp.COLORJITTER_S}, hue={inp.COLORJITTER_H})",
            ColorJitter(inp.COLORJITTER_B, inp.COLORJITTER_C, inp.COLORJITTER_S, inp.COLORJITTER_H),
        ),
        "randomgrayscale": lambda: ("random gray scale", RandomGrayscale(p=inp.RGS_P)),
        "gaussian_blur": lambda: (
            f"gaussian blur (kernel={inp.GB_K})",
            RandomApply([GaussianBlur(inp.GB_K)], p=inp.GB_P),
        ),
        "to_tensor": lambda: ("to torch tensor of range [0, 1]", ToTensor()),
        "random_style": lambda: (
            f"random style (gain, gamma, speckle, attenuation = {tuple(inp.STYLE)})",
            RandomStyleOfOne(StyleStrength.from_config(inp.STYLE)),
        ),
        "cutout": lambda: (
            f"cutout (n_holes={inp.CUTOUT_N}, length={inp.CUTOUT_LEN})",
            Cutout(inp.CUTOUT_N, inp.CUTOUT_LEN),
        ),
        "normalize": lambda: normalize,
        "gaussian_noise": lambda: (
            f"gaussian noise (mean={inp.GN_MEAN}, std={inp.GN_STD})",
            GaussianNoise(inp.GN_MEAN, inp.GN_STD),
        ),
        "instance_norm": lambda: ("instance normalization", InstanceNormalization()),
    }
    wanted = {*choices, "to_tensor"}
    return steps + [make() for name, make in available.items() if name in wanted]


def _test_steps(
    choices: Sequence[str],
    size: tuple[int, int],
    mode: InterpolationMode,
    normalize: _Step,
    fit: str = "shortest",
) -> list[_Step]:
    """Steps of the test transform: nothing random, whatever the choices.

    Args:
        fit: ``shortest`` edge to the size and crop, ``longest`` and pad with black, or ``squash``.
    """
    edge = max(size)
    crop: _Step = (f"{size[0]}x{size[1]} center crop", CenterCrop(size))
    fits: dict[str, list[_Step]] = {
        "shortest": [
            (f"resize the smaller edge to {edge}", Resize(edge, interpolation=mode)),
            crop,
        ],
        "longest": [(f"resize the larger edge to {edge}", ResizeLonger(edge, mode)), crop],
        "squash": [(f"resize to {size[0]}x{size[1]}", Resize(size, interpolation=mode))],
    }
    steps = [*fits[fit], ("to torch tensor of range [0, 1]", ToTensor())]
    if "normalize" in choices:
        steps.append(normalize)
    if "instance_norm" in choices:
        steps.append(("instance normalization", InstanceNormalization()))
    return steps
