"""The frozen part of a backbone as a function from images to rounded rows, free of its
surroundings.

An image's row must not depend on what else is encoded, or a run would depend on what ran before it.
So the encoder always sees batches of one fixed size, padded with zeros (matrix kernels choose their
blocking, and with it their rounding, by the shape of the whole batch), outside any autocast, and
its output is rounded to the store's number format whether or not it goes to the store.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cerviclip.environment import STORE_DTYPE
from cerviclip.features.pixels import ImageView, PixelReader, decode_threads
from cerviclip.features.store import DTYPES, Space
from cerviclip.vlm.projection import without_projection
from dassl.errors import UserError

# Large enough for full speed, small enough that padding a few-shot draw wastes little. Measured
# with ViT-B/32 on two CPU cores: 8 images a batch reach the rate of 16 and 32.
FIXED_BATCH = {"cpu": 8, "cuda": 64}


class FrozenEncoder:
    """One kind of feature of a frozen backbone.

    Args:
        backbone: behaves as `cerviclip.vlm.base.Backbone`; never altered.
        kind: ``pooled`` (D,); ``unprojected`` (W,), what enters the vision tower's last linear map;
            ``patches`` (1 + N, D), the pooled row first; ``hidden:K`` (T, W),
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

    @property
    def network(self) -> nn.Module:
        """The tower that images go through: the backbone's, or a copy without its projection."""
        return self._encode if isinstance(self._encode, nn.Module) else self.backbone.visual

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

    def check_views(self, views: int) -> None:
        """Refuse a number of augmented views of each image that cannot be made."""

    def rows_of_files(
        self, reader: PixelReader, views: Sequence[ImageView]
    ) -> Iterator[np.ndarray]:
        """Rows of views of image files, as the store keeps them, batch by batch."""
        if views:
            for pixels in reader.batches(views, self.batch_size, decode_threads(self.device)):
                yield to_numpy(self(pixels))

    def content_of(self, path: str, hashes: Any) -> str:
        """What stands for an image in the store: 64 hex digits.

        Args:
            hashes: behaves as `cerviclip.data.files.hashes.HashCache`.
        """
        return hashes.pixels(path)


class GivenRows(FrozenEncoder):
    """Rows that a file holds under the images' paths: no pixel is read, no network runs.

    Args:
        backbone: a `cerviclip.vlm.towers.given.GivenBackbone`.
        kind: ``pooled``; there is no other.
        dtype: number format of the rows.
    """

    def __init__(self, backbone: Any, kind: str = "pooled", dtype: str = "float16") -> None:
        if kind != "pooled":
            raise UserError(
                f"{backbone.name} holds one feature of each image, and this method works on "
                f"{kind.partition(':')[0]} features; choose one that works on pooled ones, such as "
                "LinearProbe"
            )
        super().__init__(backbone, kind, dtype)

    def space(self, transform_text: str) -> Space:
        """One for each file: nothing is done to an image."""
        sha256, arch = self.backbone.weights_sha256, self.backbone.arch
        return Space(sha256, arch, "given", self.kind, device="any", dtype=self.dtype)

    def check_views(self, views: int) -> None:
        if views > 1:
            raise UserError(
                f"{self.backbone.name} holds one feature of each image, without augmentation, and "
                f"INPUT.FEATURE_VIEWS is {views}; set INPUT.FEATURE_VIEWS 1"
            )

    def rows_of_files(
        self, reader: PixelReader, views: Sequence[ImageView]
    ) -> Iterator[np.ndarray]:
        if views:
            rows = self.backbone.embeddings.rows_of([view.path for view in views])
            yield to_numpy(torch.from_numpy(rows).to(getattr(torch, self.dtype)))

    def content_of(self, path: str, hashes: Any) -> str:
        """By the path: the file may say different things of two copies of an image."""
        return hashlib.sha256(os.path.abspath(path).encode("utf-8", "surrogateescape")).hexdigest()


def encoder_of(backbone: Any, kind: str, dtype: str) -> FrozenEncoder:
    """The encoder that fits a backbone: its network, or the rows of its file."""
    made = GivenRows if hasattr(backbone, "embeddings") else FrozenEncoder
    return made(backbone, kind, dtype)


def _encode_function(backbone: Any, kind: str) -> Callable[[Tensor], Tensor]:
    if kind == "pooled":
        return backbone.encode_image
    if kind == "unprojected":
        return without_projection(backbone.visual)
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
