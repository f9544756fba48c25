"""A run's model as a function from the pixels that it sees of one image to its scores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from cerviclip.app.explain.geometry import ViewGeometry
from cerviclip.engine.inference import batch_builder
from dassl.errors import UserError


class Scorer:
    """One image before one run's model.

    The model is called as for predictions, with the same rounding and the same ROI; only the
    pixels behind the test transform may be others.

    Args:
        trainer: of a loaded run.
        image: 8-bit RGB.
        path: its file; empty for one in memory.
    """

    def __init__(self, trainer: Any, image: Image.Image, path: str = "") -> None:
        self.trainer = trainer
        builder = batch_builder(trainer)
        sample = builder.sample_of(image, path)
        self.pixels = sample.pop("img").unsqueeze(0)  # (1, 3, h, w)
        self._beside = sample
        self._path = path
        transform = getattr(trainer, "tfm_test", None)
        self.geometry = ViewGeometry.of(transform, image, self.size)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the view in px."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def device(self) -> torch.device:
        return torch.device(getattr(self.trainer, "device", "cpu"))

    def input_of(self, pixels: Tensor) -> Any:
        """What ``model_inference`` takes for pixels (B, 3, h, w)."""
        count = len(pixels)
        unknown = torch.zeros(count, dtype=torch.int64)
        beside = {k: v.unsqueeze(0).expand(count, *v.shape) for k, v in self._beside.items()}
        batch = {
            **beside,
            "img": pixels,
            "label": unknown,
            "domain": unknown,
            "impath": [self._path] * count,
            "index": torch.arange(count),
        }
        return self.trainer.parse_batch_test(batch)[0]

    def logits(self, pixels: Tensor) -> Tensor:
        """Scores (B, C), float64, of pixels (B, 3, h, w); with a gradient where torch keeps one."""
        output = self.trainer.model_inference(self.input_of(pixels))
        return (output[0] if isinstance(output, (tuple, list)) else output).double()

    @torch.no_grad()
    def probabilities(self, pixels: Tensor) -> Tensor:
        """(B, C), float64, on the CPU."""
        return torch.softmax(self.logits(pixels), dim=1).cpu()


def log_odds(label: int) -> Callable[[Tensor], Tensor]:
    """The score that a map explains: log p / (1 - p) of a class, of logits (C,).

    It is the same for logits and for log-probabilities, and its gradient does not vanish where the
    model is certain.

    Args:
        label: index of the class.
    """

    def score(logits: Tensor) -> Tensor:
        others = torch.cat([logits[:label], logits[label + 1 :]])
        return logits[label] - torch.logsumexp(others, dim=0)

    return score


def check_classes(count: int) -> None:
    """Refuse a task of one class, for which nothing speaks against anything.

    Raises:
        UserError: there are fewer than two classes.
    """
    if count < 2:
        raise UserError("the run knows one class; a map needs two or more to tell apart")


class ThisThread:
    """Whether hooks are called by the thread that set them: others may predict meanwhile."""

    def __init__(self) -> None:
        self._ident = threading.get_ident()

    def __bool__(self) -> bool:
        return threading.get_ident() == self._ident
