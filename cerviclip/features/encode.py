"""The frozen part of a backbone as a function from images to rounded rows, free of its
surroundings.

An image's row must not depend on what else is encoded, or a run would depend on what ran before it.
So the encoder always sees batches of one fixed size, padded with zeros (matrix kernels choose their
blocking, and with it their rounding, by the shape of the whole batch), outside any autocast, and
its output is rounded to the store's number format whether or not it goes to the store.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cerviclip.environment import STORE_DTYPE
from cerviclip.features.store import DTYPES, Space
from dassl.errors import UserError
from dassl.utils.rng import stable_seed

# Large enough for full speed, small enough that padding a few-shot draw wastes little. Measured
# with ViT-B/32 on two CPU cores: 8 images a batch reach the rate of 16 and 32.
FIXED_BATCH = {"cpu": 8, "cuda": 64}


class FrozenEncoder:
    """One kind of feature of a frozen backbone.

    Args:
        backbone: behaves as `cerviclip.vlm.base.Backbone`; never altered.
        kind: ``pooled`` (D,); ``patches`` (1 + N, D), the pooled row first; ``hidden:K`` (T, W),
            the tokens that enter block K of the vision tower.
        dtype: number format of the rows, ``float16`` or ``bfloat16``.
    """

    def __init__(self, backbone: Any, kind: str = "pooled", dtype: str = "float16") -> None:
        if dtype not in DTYPES:
            raise UserError(f"features are stored as float16 or bfloat16, not {dtype!r}")
        self.backbone = backbone
        self.kind = kind
        self.dtype = dtype
        self.device = torch.device(backbone.device)
        self.batch_size = FIXED_BATCH.get(self.device.type, 32)
        self._encode = _encode_function(backbone, kind)

    def space(self, transform_text: str) -> Space:
        """Where rows of this encoder behind that transform are stored."""
        half = getattr(self.backbone.visual, "half_dtype", None)
        return Space(
            weights_sha256=self.backbone.weights_sha256 or self.backbone.fingerprint(),
            arch=self.backbone.arch,
            preprocess=f"v{self.backbone.preprocess.version} {transform_text}",
            kind=self.kind,
            precision="fp32" if half is None else str(half).removeprefix("torch."),
            device=self.device.type,
            dtype=self.dtype,
        )

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) of any B to rows (B, ...) in the store's number format."""
        pixels = pixels.to(self.device)
        rows = []
        with torch.autocast(self.device.type, enabled=False):
            for chunk in pixels.split(self.batch_size):
                if len(chunk) < self.batch_size:
                    padded = chunk.new_zeros(self.batch_size, *chunk.shape[1:])
                    padded[: len(chunk)] = chunk
                else:
                    padded = chunk.contiguous()
                rows.append(self._encode(padded)[: len(chunk)].to(getattr(torch, self.dtype)))
        return rows[0] if len(rows) == 1 else torch.cat(rows)


def _encode_function(backbone: Any, kind: str) -> Callable[[Tensor], Tensor]:
    if kind == "pooled":
        return backbone.encode_image
    if kind == "patches":

        def tokens(x: Tensor) -> Tensor:
            pooled, patches = backbone.encode_tokens(x)
            return torch.cat([pooled.unsqueeze(1), patches], dim=1)

        return tokens
    name, _, block = kind.partition(":")
    if name == "hidden" and block.isdigit():
        visual, stop = backbone.visual, int(block)
        if stop > visual.num_blocks:
            raise UserError(
                f"{backbone.name} has {visual.num_blocks} blocks, block {stop} asked for"
            )
        return lambda x: visual.run_blocks(visual.stem(x), 0, stop)
    raise ValueError(f"unknown kind of feature {kind!r}")


def to_numpy(rows: Tensor) -> np.ndarray:
    """16-bit rows as the store keeps them (bfloat16 as its bits in uint16).

    Raises:
        UserError: a value left float16's range.
    """
    rows = rows.detach().cpu().contiguous()
    if not torch.isfinite(rows).all():
        raise UserError(
            "a feature is infinite or not a number in the store's float16; set "
            f"{STORE_DTYPE}=bfloat16, or check the weights for NaN"
        )
    if rows.dtype == torch.bfloat16:
        return rows.view(torch.int16).numpy().view(np.uint16)
    return rows.numpy()


def to_tensor(rows: np.ndarray) -> Tensor:
    """Inverse of `to_numpy`."""
    if rows.dtype == np.uint16:
        return torch.from_numpy(rows.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(rows)


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
    with _seeded(stable_seed("feature view", image_sha256, view, text)):
        return transform(image)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
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
