"""Class probabilities of an adopted trainer, whatever its own ``test`` and ``model_inference`` ask.

Its code never sees the label of a test image: every label that it is given while it predicts is 0.
"""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cerviclip.runs.run.testing.predict import test_loader_of


class Predictor:
    """Predicts with a trainer in one of two ways.

    A trainer with a ``test`` of its own predicts by it: an evaluator takes down what it is handed.
    Others predict by ``parse_batch_test`` and ``model_inference``. Where the first way gives no
    prediction for each image, the second is tried.

    Args:
        trainer: the adopted trainer.
        has_own_test: whether its repository overrides ``test``.
    """

    def __init__(self, trainer: Any, has_own_test: bool) -> None:
        self.trainer = trainer
        self.ways = [self._by_test, self._by_inference]
        if not has_own_test:
            self.ways.reverse()

    @torch.no_grad()
    def probabilities(self, items: Sequence[Any]) -> np.ndarray:
        """Class probabilities (N, C), float64, of ``items`` (Datum) in their order."""
        hidden = [_without_label(item) for item in items]
        error: Exception | None = None
        for way in self.ways:
            self.trainer.set_model_mode("eval")
            try:
                rows = way(hidden)
            except Exception as failed:  # whatever their code raises, the other way may do
                error = error or failed
                continue
            if len(rows) == len(items):
                return rows.numpy()
        raise error or RuntimeError(
            "neither test() nor model_inference() gives one prediction for each test image"
        )

    def _by_inference(self, items: Sequence[Any]) -> Tensor:
        rows = [self.of_batch(batch)[0].cpu() for batch in test_loader_of(self.trainer, items)]
        return torch.cat(rows)

    def of_batch(self, batch: Mapping[str, Any]) -> tuple[Tensor, Any]:
        """Probabilities (B, C), and what the trainer takes for the labels, of one batch."""
        parsed = self.trainer.parse_batch_test(batch)
        parts = list(parsed) if isinstance(parsed, (tuple, list)) else [parsed]
        wanted = _positional(self.trainer.model_inference)
        output = self.trainer.model_inference(*parts[: max(1, wanted)])
        label = parts[1] if len(parts) > 1 else batch["label"]
        return as_probabilities(output, self.trainer.num_classes, len(batch["label"])), label

    def _by_test(self, items: Sequence[Any]) -> Tensor:
        trainer, dm = self.trainer, self.trainer.dm
        loader = _Watched(test_loader_of(trainer, items))
        recorder = _Recorder(trainer.num_classes)
        before = trainer.evaluator, trainer.val_loader
        own = {key: trainer.__dict__.get(key) for key in ("_test_loader",)}
        of_dm = dm.test_loader
        trainer.evaluator, trainer.test_loader, dm.test_loader = recorder, loader, loader
        trainer.val_loader = None  # a test() over val as well would be taken down twice
        try:
            trainer.test(split="test") if _takes(trainer.test, "split") else trainer.test()
        finally:
            trainer.evaluator, trainer.val_loader = before
            trainer.__dict__.update(own)
            if own["_test_loader"] is None:
                del trainer.__dict__["_test_loader"]
            dm.test_loader = of_dm
        if loader.passes != 1 or recorder.count != len(items):
            return torch.zeros(0, trainer.num_classes)
        return torch.cat(recorder.rows)


class _Recorder:
    """An evaluator that takes predictions down and judges none."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.rows: list[Tensor] = []

    @property
    def count(self) -> int:
        return sum(map(len, self.rows))

    def reset(self) -> None:
        self.rows.clear()

    def process(self, mo: Any, gt: Any, *_: Any) -> None:
        self.rows.append(as_probabilities(mo, self.classes, len(gt)).cpu())

    def evaluate(self) -> OrderedDict[str, float]:
        return OrderedDict(accuracy=0.0, error_rate=0.0, macro_f1=0.0)


class _Watched:
    """A loader that counts how often it is gone through."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.passes = 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return iter(self._loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def as_probabilities(output: Any, classes: int, count: int) -> Tensor:
    """Class probabilities (B, C), float64, of what a model returns.

    Of several tensors the first of that shape is taken. Rows that are probabilities already stay as
    they are; others are logits.

    Raises:
        ValueError: no tensor has that shape.
    """
    for tensor in _tensors(output):
        if tensor.ndim == 2 and tuple(tensor.shape) == (count, classes):
            rows = tensor.detach().double()
            sums = rows.sum(dim=1)
            if (rows >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
                return rows / sums[:, None]
            return torch.softmax(rows, dim=1)
    shapes = [tuple(tensor.shape) for tensor in _tensors(output)]
    raise ValueError(f"the model's output has no scores of shape {(count, classes)}, but {shapes}")


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        named = [output[key] for key in ("logits", "logit", "output") if key in output]
        for part in named or output.values():
            yield from _tensors(part)
    elif isinstance(output, (tuple, list)):
        for part in output:
            yield from _tensors(part)


def _without_label(item: Any) -> Any:
    hidden = copy.copy(item)
    hidden._label, hidden._classname = 0, ""
    return hidden


def _positional(function: Any) -> int:
    """How many positional arguments a bound method demands."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


def _takes(function: Any, name: str) -> bool:
    return name in inspect.signature(function).parameters
