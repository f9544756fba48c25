"""Predictions of a trained model for any list of images, without ``trainer.test()``.

``test()`` is often overridden and returns one number; ``parse_batch_test`` and ``model_inference``
give the probabilities that results are computed from.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cerviclip.engine.inference import batch_probabilities, check_finite
from dassl.errors import UserError
from dassl.utils.files import atomic_write


@dataclass
class Predictions:
    """What a model says of one centre's images, in the order of the items."""

    center: str
    paths: list[str]  # relative to the data's root where they lie in it
    patient_ids: list[str]
    labels: np.ndarray  # (B,)
    probs: np.ndarray  # (B, C) float64

    def __len__(self) -> int:
        return len(self.labels)


def predict_items(
    trainer: Any, items: Sequence[Any], center: str, roots: Sequence[str] = ()
) -> Predictions:
    """Run the trainer's model over ``items`` (Datum) and keep the class probabilities."""
    n_classes = trainer.dm.num_classes
    labels, probs = np.zeros(0, dtype=np.int64), np.zeros((0, n_classes))
    if len(items):
        labels, probs = predict_loader(trainer, test_loader_of(trainer, items))
    if len(labels) != len(items):
        raise RuntimeError(f"{center}: {len(labels)} predictions for {len(items)} images")
    return Predictions(
        center=center,
        paths=[relative_path(item.impath, *roots) for item in items],
        patient_ids=[str(getattr(item, "patient_id", "")) for item in items],
        labels=labels,
        probs=probs,
    )


def predict_loader(trainer: Any, loader: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Labels (B,) and class probabilities (B, C) over a loader, the model in eval mode."""
    trainer.set_model_mode("eval")
    labels, probs = [], []
    with torch.no_grad():
        for batch in loader:
            of_batch, label = batch_probabilities(trainer, batch)
            labels.append(label)
            probs.append(of_batch)
    all_probs = torch.cat(probs).cpu().numpy()
    check_finite(trainer, all_probs)
    return torch.cat(labels).cpu().numpy().astype(np.int64), all_probs


def test_loader_of(trainer: Any, items: Sequence[Any]) -> Iterable[Any]:
    """A loader over ``items`` that treats images as the trainer's own test loader does."""
    if hasattr(trainer, "make_loader"):
        return trainer.make_loader(items)
    from cerviclip.data.image_cache import build_image_loader
    from dassl.data.data_manager import DatasetWrapper, build_data_loader

    like = trainer.test_loader if trainer.test_loader is not None else trainer.val_loader
    if like is None:
        raise UserError("neither test nor val images: there is no test loader to imitate")
    if type(like.dataset) is DatasetWrapper:
        return build_image_loader(trainer.cfg, list(items), like.dataset.transform)
    return build_data_loader(
        trainer.cfg,
        sampler_type="SequentialSampler",
        data_source=list(items),
        batch_size=trainer.cfg.DATALOADER.TEST.BATCH_SIZE,
        tfm=like.dataset.transform,
        is_train=False,
        dataset_wrapper=type(like.dataset),
    )


def relative_path(path: str, *roots: str) -> str:
    """``path`` seen from the first of ``roots`` that holds it, with forward slashes."""
    for root in roots:
        relative = os.path.relpath(path, root) if root else ".."
        if not relative.startswith(".."):
            return Path(relative).as_posix()
    return Path(path).as_posix()


def write_predictions(
    folder: str | Path, predictions: Sequence[Predictions], classnames: Sequence[str]
) -> Path:
    """predictions.csv: one line per image of every centre."""
    path = Path(folder) / "predictions.csv"
    head = ["center", "path", "patient_id", "label", "prediction", *(f"p_{c}" for c in classnames)]
    with atomic_write(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(head)
        for p in predictions:
            predicted = p.probs.argmax(axis=1) if len(p) else []
            for i, k in enumerate(predicted):
                # repr of a float is its shortest exact form: scores can be recomputed from the file
                writer.writerow(
                    [p.center, p.paths[i], p.patient_ids[i], classnames[p.labels[i]], classnames[k]]
                    + [repr(float(x)) for x in p.probs[i]]
                )
    return path
