"""Predictions of a trained model for any list of images, without ``trainer.test()``.

``test()`` is often overridden and returns one number; ``parse_batch_test`` and ``model_inference``
give the probabilities that results are computed from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from cerviclip.engine.families.transductive import Transductive
from cerviclip.engine.inference import batch_probabilities, check_finite
from cerviclip.parallel.loaders import own_batches
from cerviclip.runs.predictions import Predictions, relative_path
from dassl.errors import UserError
from dassl.utils.distributed import gather_rows


def predict_items(
    trainer: Any, items: Sequence[Any], center: str, roots: Sequence[str] = ()
) -> Predictions:
    """Run the trainer's model over ``items`` (Datum) and keep the class probabilities."""
    n_classes = trainer.dm.num_classes
    labels, probs = np.zeros(0, dtype=np.int64), np.zeros((0, n_classes))
    if len(items) and hasattr(trainer, "adopted_probabilities"):
        labels = np.array([item.label for item in items], dtype=np.int64)
        probs = trainer.adopted_probabilities(items)
        check_finite(trainer, probs)
    elif len(items):
        labels, probs = predict_loader(trainer, test_loader_of(trainer, items))
    _check_order(center, labels, items)
    return Predictions(
        center=center,
        paths=[relative_path(item.impath, *roots) for item in items],
        patient_ids=[str(getattr(item, "patient_id", "")) for item in items],
        labels=labels,
        probs=probs,
        classnames=tuple(trainer.dm.dataset.classnames),
    )


def _check_order(center: str, labels: np.ndarray, items: Sequence[Any]) -> None:
    """Refuse predictions that a loader has given in another order, or not of all images: each
    would stand beside another image's path and patient."""
    if len(labels) != len(items):
        raise RuntimeError(f"{center}: {len(labels)} predictions for {len(items)} images")
    wanted = np.array([item.label for item in items], dtype=np.int64)
    if np.array_equal(labels, wanted):
        return
    if np.array_equal(np.sort(labels), np.sort(wanted)):
        raise RuntimeError(
            f"{center}: the test loader gives images in another order than the data set's list; a "
            "trainer's loader of test images must not shuffle"
        )
    at = int(np.flatnonzero(labels != wanted)[0])
    raise RuntimeError(
        f"{center}: the test loader gives {items[at].impath} the label {labels[at]}, and the data "
        f"set's list {wanted[at]}; a trainer's loader of test images must not relabel"
    )


def predict_loader(trainer: Any, loader: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Labels (B,) and class probabilities (B, C) over a loader, the model in eval mode."""
    trainer.set_model_mode("eval")
    with torch.no_grad():
        if isinstance(trainer, Transductive):
            probs, labels = trainer.predict_together(loader)
        else:
            none = torch.zeros(0, trainer.num_classes, dtype=torch.float64), torch.zeros(0)
            parts = [batch_probabilities(trainer, batch) for batch in own_batches(loader)] or [none]
            probs, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    all_probs = gather_rows(probs.cpu().numpy())
    check_finite(trainer, all_probs)
    return gather_rows(labels.cpu().numpy()).astype(np.int64), all_probs


def test_loader_of(trainer: Any, items: Sequence[Any]) -> Iterable[Any]:
    """A loader over ``items`` that treats images as the trainer's own test loader does."""
    if hasattr(trainer, "make_loader"):
        return trainer.make_loader(items)
    from cerviclip.data.images.cache import build_image_loader
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
