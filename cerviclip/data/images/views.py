"""Random views of an image that come out the same again, and transforms as text for keys."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from dassl.utils.rng import stable_seed


def describe_transform(transform: Any) -> str:
    """A transform with every parameter as text that is equal across processes.

    Torchvision's classes print themselves; others get class name and attributes, since Python's
    default repr holds a memory address.
    """
    steps = getattr(transform, "transforms", None)
    if isinstance(steps, (list, tuple)):
        inner = ", ".join(describe_transform(step) for step in steps)
        extra = f", p={transform.p}" if hasattr(transform, "p") else ""
        return f"{type(transform).__name__}({inner}{extra})"
    if type(transform).__repr__ not in (object.__repr__, torch.nn.Module.__repr__):
        return repr(transform)
    state = {k: v for k, v in sorted(vars(transform).items()) if not k.startswith("_")}
    text = ", ".join(f"{k}={describe_value(v)}" for k, v in state.items())
    return f"{type(transform).__module__}.{type(transform).__qualname__}({text})"


def describe_value(value: Any) -> str:
    """Plain values by repr; functions and objects by name, so that no memory address enters a
    key."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(describe_value(v) for v in value) + "]"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if type(value).__repr__ is object.__repr__:
        return describe_transform(value)
    return repr(value)


def make_view(image: Any, transform: Callable, text: str, image_sha256: str, view: int) -> Any:
    """View number ``view`` of an image: its randomness comes from the image's content, the view's
    number and the transform alone, and the global generators are left as they were."""
    with seeded(stable_seed("feature view", image_sha256, view, text)):
        return transform(image)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators start at a seed; afterwards they are as they were."""
    before = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
