"""The features of a run's training images, worked out when all its results are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cerviclip.features.training import TrainFeatures, every_so_many
from cerviclip.parallel.loaders import own_batches
from cerviclip.runs.predictions import relative_path
from cerviclip.runs.run.testing.predict import test_loader_of
from dassl.utils.distributed import gather_rows


def train_features(trainer: Any) -> TrainFeatures | None:
    """By the deployed tower, behind the transform of a test.

    None for a trainer without ``image_features_of`` (one written elsewhere), or without features.
    """
    dataset, cfg = trainer.dm.dataset, trainer.cfg
    if not hasattr(trainer, "image_features_of") or not dataset.train_x:
        return None
    trainer.set_model_mode("eval")
    items = every_so_many(dataset.train_x)
    rows = features_of(trainer, items)
    if rows is None:
        return None
    val = features_of(trainer, every_so_many(dataset.val or []))
    roots = [str(cfg.DATASET.ROOT), str(getattr(dataset, "root", ""))]
    paths = [relative_path(item.impath, *roots) for item in items]
    labels = [item.label for item in items]
    return TrainFeatures.fit(rows, labels, paths, val, len(dataset.train_x))


def features_of(trainer: Any, items: Sequence[Any]) -> np.ndarray | None:
    """(N, D) float32; None where there are no images or the trainer has no features."""
    if not items:
        return None
    found = []
    for batch in own_batches(test_loader_of(trainer, items)):
        features = trainer.image_features_of(batch)
        if features is None:
            break
        found.append(features.float().cpu().numpy())
    rows = gather_rows(np.concatenate(found) if found else np.zeros((0, 0), np.float32))
    return rows if len(rows) else None
