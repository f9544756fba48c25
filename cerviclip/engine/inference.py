"""Class probabilities from a trained model: of a loader's batches, of images and of image files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dassl.data.transforms import build_transform
from dassl.utils.images import decode_image, to_rgb

# Images whose pixels are in memory at a time, and that are encoded together. Both are multiples of
# the encoder's own batch. On a CPU few, so that the encoder begins while others are decoded.
_PIXELS = {"cpu": 16, "cuda": 64}

Picture = str | os.PathLike[str] | Image.Image


def batch_probabilities(trainer: Any, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Class probabilities (B, C), float64, and labels (B,) of a batch, as the trainer reads it."""
    input, label = trainer.parse_batch_test(batch)
    output = trainer.model_inference(input)
    logits = output[0] if isinstance(output, (tuple, list)) else output
    return torch.softmax(logits.double(), dim=1), label


def batch_answers(trainer: Any, batch: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
    """Class probabilities (B, C), float64, and the deployed tower's features (B, D) of a batch, in
    one pass; None for a trainer that gives no features."""
    if not hasattr(trainer, "inference_with_features"):
        return batch_probabilities(trainer, batch)[0], None
    logits, features = trainer.inference_with_features(trainer.parse_batch_test(batch)[0])
    return torch.softmax(logits.double(), dim=1), features


def check_finite(trainer: Any, probs: np.ndarray) -> None:
    """Refuse probabilities that are no numbers.

    Raises:
        RuntimeError: with their number and what to try.
    """
    if not np.isfinite(probs).all():
        lost = int((~np.isfinite(probs)).any(axis=1).sum())
        raise RuntimeError(
            f"{trainer.cfg.TRAINER.NAME} predicts NaN for {lost} of {len(probs)} images; "
            "a lower OPTIM.LR or PREC fp32 may help"
        )


@torch.no_grad()
def predict_images(trainer: Any, pictures: Sequence[Picture]) -> np.ndarray:
    """Class probabilities (B, C), float64, of image files and images in memory.

    They are those of predictions.csv for the same files. Nothing is written: no feature goes to the
    store, no file's hash is kept.

    Args:
        trainer: a trainer with its weights, such as ``load_run`` gives.
        pictures: paths and PIL images of any mode and size, in any mixture.

    Raises:
        UserError: a file is missing or no image.
    """
    trainer.set_model_mode("eval")
    size = test_batch_size(trainer)
    probs = [
        batch_probabilities(trainer, batch_of(trainer, pictures[start : start + size]))[0]
        .cpu()
        .numpy()
        for start in range(0, len(pictures), size)
    ]
    every = np.concatenate(probs) if probs else np.zeros((0, trainer.num_classes))
    check_finite(trainer, every)
    return every


def open_picture(picture: Picture) -> Image.Image:
    """An image as training reads it: 8-bit RGB. Files are not kept in the cache of a sweep."""
    return to_rgb(picture) if isinstance(picture, Image.Image) else decode_image(os.fspath(picture))


def path_of(picture: Picture) -> str:
    """The file of a picture; empty for one in memory."""
    return "" if isinstance(picture, Image.Image) else os.fspath(picture)


class BatchBuilder:
    """A test loader's batch, built of one image after another.

    Of the images' pixels few are kept at a time. Labels and domains, which nobody knows, are 0.

    Args:
        sample_of: 8-bit RGB image and its file (empty for one in memory) to what a batch holds of
            it.
        rows_of: pixels (B, 3, H, W) to ``img`` of a batch.
        device: kind of the device that ``rows_of`` works on.
    """

    def __init__(
        self,
        sample_of: Callable[[Image.Image, str], dict[str, Tensor]],
        rows_of: Callable[[Tensor], Tensor],
        device: str = "cpu",
    ) -> None:
        self.sample_of, self.rows_of = sample_of, rows_of
        self._most = _PIXELS.get(device, 64)
        self.paths: list[str] = []
        self._samples: list[dict[str, Tensor]] = []
        self._parts: list[dict[str, Tensor]] = []

    def __len__(self) -> int:
        return len(self.paths)

    def add(self, image: Image.Image, path: str = "") -> None:
        self.add_sample(self.sample_of(image, path), path)

    def add_sample(self, sample: dict[str, Tensor], path: str = "") -> None:
        """Add what ``sample_of`` has made of an image."""
        self._samples.append(sample)
        self.paths.append(path)
        if len(self._samples) == self._most:
            self._encode()

    def batch(self) -> dict[str, Any]:
        """The batch of all images since the last one; there must be some."""
        if self._samples:
            self._encode()
        parts, paths = self._parts, self.paths
        self._parts, self.paths = [], []
        unknown = torch.zeros(len(paths), dtype=torch.int64)
        return {
            **{key: torch.cat([part[key] for part in parts]) for key in parts[0]},
            "label": unknown,
            "domain": unknown,
            "impath": paths,
            "index": torch.arange(len(paths)),
        }

    @torch.no_grad()
    def _encode(self) -> None:
        samples, self._samples = self._samples, []
        part = {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}
        self._parts.append({**part, "img": self.rows_of(part["img"])})


def batch_builder(trainer: Any) -> BatchBuilder:
    """A builder of the batches that a trainer's test loader would give.

    A trainer written elsewhere has pixels behind the config's test transform in them.
    """
    if hasattr(trainer, "sample_of") and hasattr(trainer, "rows_of"):
        return BatchBuilder(trainer.sample_of, trainer.rows_of, torch.device(trainer.device).type)
    transform = getattr(trainer, "tfm_test", None) or build_transform(trainer.cfg, is_train=False)
    return BatchBuilder(lambda image, _: {"img": transform(image)}, lambda pixels: pixels)


def batch_of(trainer: Any, pictures: Sequence[Picture]) -> dict[str, Any]:
    """The batch that a trainer's test loader would give for these pictures."""
    builder = batch_builder(trainer)
    for one in pictures:
        builder.add(open_picture(one), path_of(one))
    return builder.batch()


def test_batch_size(trainer: Any) -> int:
    """That of the test loader: matrix kernels round by the size of a batch."""
    return getattr(trainer, "test_batch_size", 0) or trainer.cfg.DATALOADER.TEST.BATCH_SIZE
