"""Methods that predict the images of a set together: they see the whole test set, unlabelled.

Their scores mean something else than those of methods that take one image at a time, so results
say ``transductive`` and tables keep them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cerviclip.engine import inference


class Transductive:
    """Mixin before a trainer class on stored features: predictions are of a whole set at once.

    The images of a centre are one set, and so are those of one call of ``predict_images``.
    ``model_inference`` stays what the method starts from, an image at a time.
    """

    transductive = True
    num_classes: int

    def transduce(self, features: Tensor) -> Tensor:
        """Probabilities (B, C) of a set's features (B, D), L2-normalised."""
        raise NotImplementedError

    @torch.no_grad()
    def predict_together(self, batches: Iterable[dict[str, Any]]) -> tuple[Tensor, Tensor]:
        """Probabilities (B, C), float64, and labels (B,) of the images of all batches."""
        parsed = [self.parse_batch_test(batch) for batch in batches]  # type: ignore[attr-defined]
        rows = [self.image_features(input) for input, _ in parsed]  # type: ignore[attr-defined]
        probs = self.transduce(torch.cat(rows)).double()
        return probs, torch.cat([label for _, label in parsed])

    def predict_images(self, pictures: Sequence[inference.Picture]) -> np.ndarray:
        """Class probabilities (B, C), float64, of pictures that are taken as one set."""
        if not len(pictures):
            return np.zeros((0, self.num_classes))
        self.set_model_mode("eval")  # type: ignore[attr-defined]
        size = inference.test_batch_size(self)
        starts = range(0, len(pictures), size)
        batches = (inference.batch_of(self, pictures[start : start + size]) for start in starts)
        probs = self.predict_together(batches)[0].cpu().numpy()
        inference.check_finite(self, probs)
        return probs
