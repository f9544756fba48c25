"""The first steps of a transform that draw nothing: what may be kept of an image for all epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torchvision.transforms import CenterCrop, Compose, Resize

from cerviclip.data.images.views import describe_transform
from dassl.data.transforms.transforms import ResizeLonger, ShrinkShorter

DETERMINISTIC = (Resize, CenterCrop, ResizeLonger, ShrinkShorter)
DECODED = "decoded"  # an image as it is read, before any step


def first_steps(transform: Any) -> tuple[list[Callable], Any]:
    """The steps that a transform begins with and that draw nothing, and a transform of the others.

    A transform of another kind than ``Compose`` has no first steps.
    """
    if type(transform) is not Compose:
        return [], transform
    steps = list(transform.transforms)
    # By type, not isinstance: a class derived from one of them may draw.
    count = next((i for i, step in enumerate(steps) if type(step) not in DETERMINISTIC), len(steps))
    return steps[:count], Compose(steps[count:]) if count else transform


def steps_text(steps: Sequence[Callable]) -> str:
    """First steps with every parameter, equal across processes."""
    if not steps:
        return DECODED
    return f"resized [{', '.join(describe_transform(step) for step in steps)}]"
