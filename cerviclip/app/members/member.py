"""``Member``: one trained run, or one export, that answers for batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cerviclip.data.reading import Reading
from cerviclip.engine.families.transductive import Transductive
from cerviclip.engine.inference import (
    batch_answers,
    batch_probabilities,
    test_batch_size,
)
from cerviclip.engine.task import Task
from cerviclip.runs.results_json import read_measured
from cerviclip.runs.run.load import load_run
from dassl.errors import UserError


@dataclass(frozen=True)
class Member:
    """One run of a predictor."""

    folder: Path
    trainer: Any = field(repr=False)
    task: Task = field(repr=False)
    reading: Reading
    results: Mapping[str, Any] = field(
        default_factory=dict, repr=False
    )  # its results.json, or what there is of it
    known_identity: str = ""  # an export's: that of its run, whose answers it gives

    @classmethod
    def load(
        cls, folder: str | Path, weights: str | Path, device: str, plugin: Sequence[str]
    ) -> Member:
        cfg, task, trainer = load_run(folder, weights, device=device, plugin=plugin)
        if isinstance(trainer, Transductive):
            raise UserError(
                f"{folder}: {cfg.TRAINER.NAME} predicts all images of a set together, so it has no "
                "answer for one picture; evaluate it by train.py --eval-only --model-dir, or in "
                "Python by load_run(...).trainer.predict_images(all pictures)"
            )
        reading, results = Reading.load(folder, cfg), read_measured(folder) or {}
        return cls(Path(folder), trainer, task, reading, results)

    @property
    def batch_size(self) -> int:
        return test_batch_size(self.trainer)

    def answers(
        self, batch: dict[str, Any], features: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Probabilities (B, C), float64, of a batch that its builder made, and the features (B, D).

        Args:
            features: whether they are asked for.

        Returns:
            Rows that hold NaN or infinity are left to the caller.
        """
        seen: torch.Tensor | None = None
        with torch.no_grad():
            if features:
                probs, seen = batch_answers(self.trainer, batch)
            else:
                probs = batch_probabilities(self.trainer, batch)[0]
        return probs.cpu().numpy(), None if seen is None else seen.float().cpu().numpy()

    def identity(self) -> str:
        """A hash of what probabilities depend on: settings, classes and every learned number."""
        if self.known_identity:
            return self.known_identity
        keys = ("config_hash", "weights_sha256", "draw_hash")
        digest = hashlib.sha256(json.dumps([self.results.get(key) for key in keys]).encode())
        digest.update(self.task.to_json().encode())
        for name, model in sorted(getattr(self.trainer, "_models", {}).items()):
            for key, tensor in sorted(model.state_dict().items()):
                digest.update(f"{name} {key} {tensor.dtype} {tuple(tensor.shape)}".encode())
                flat = tensor.detach().cpu().contiguous().reshape(-1)
                digest.update(flat.view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
