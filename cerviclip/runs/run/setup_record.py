"""``setup`` of results.json: what the model saw of an image, and how it was trained.

The configuration has keys for every method. A backbone brings its own image size and statistics,
and a fit in closed form has no optimiser. Only its trainer knows what a run has really used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OPTIONS = ("lr", "weight_decay")  # what a report says of an optimiser's groups


def setup_record(trainer: Any, scored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a trainer has used.

    Args:
        trainer: any of Dassl's; what it does not have is left out.
        scored: results of the run whose saved model is scored here; its training is theirs.
    """
    if scored is None:
        return {"input": _input(trainer), "training": _training(trainer)}
    of_run = scored.get("setup") or {}
    return {"input": _input(trainer), "training": dict(of_run.get("training") or {})}


def _input(trainer: Any) -> dict[str, Any]:
    """Steps in the words of log.txt; a list of them for each backbone that sees the image."""
    cfg, manager = trainer.cfg, getattr(trainer, "dm", None)
    parts = getattr(trainer, "parts", None)  # of several backbones; others' may mean anything
    ours = isinstance(parts, list) and parts and all(hasattr(p, "tfm_test") for p in parts)
    views = cfg.INPUT.FEATURE_VIEWS if getattr(trainer, "stored_kind", "") else 0
    in_training = _of_loader(getattr(manager, "train_loader_x", None))
    # The run has been scored: to look at the test loader is no early reading any more.
    in_test = _of_loader(getattr(manager, "val_loader", None) or manager and manager.test_loader)
    found: dict[str, Any] = {"test": [], "train": [], "interpolation": []}
    for part in parts if ours else [trainer]:
        preprocess = getattr(getattr(part, "backbone", None), "preprocess", None)
        test = _words(getattr(part, "tfm_test", in_test))
        train = _words(getattr(part, "tfm_train", in_training))
        found["test"].append(test)
        found["train"].append(test if views == 1 else train)
        found["interpolation"].append(getattr(preprocess, "interpolation", cfg.INPUT.INTERPOLATION))
    if str(cfg.MODEL.BACKBONE.NAME).startswith("embeddings:"):
        return {"given_features": True}
    return {**found, "views": views}


def _of_loader(loader: Any) -> Any:
    """The transform of a loader of images; None for another one."""
    return getattr(getattr(loader, "dataset", None), "transform", None)


def _words(transform: Any) -> list[str]:
    """What log.txt says of a transform's steps; [] for one that was made elsewhere."""
    return list(getattr(transform, "words", ()))


def _training(trainer: Any) -> dict[str, Any]:
    """``none``, ``fit`` (a fit of its own, without OPTIM) or ``steps`` by optimisers, listed."""
    if not getattr(trainer, "needs_training", True):
        return {"by": "none"}
    optimizers = {
        name: _optimizer(optim)
        for name, optim in (getattr(trainer, "_optims", None) or {}).items()
        if optim is not None
    }
    if not optimizers:
        return {"by": "fit"}
    epochs = int(getattr(trainer, "max_epoch", 0) or 0)
    loader = getattr(trainer, "train_loader_x", None)
    sampler = getattr(loader, "batch_sampler", None)
    return {
        "by": "steps",
        "optimizers": optimizers,
        "schedule": trainer.cfg.OPTIM.LR_SCHEDULER,
        "epochs": epochs,
        "batch_size": getattr(loader, "batch_size", None) or getattr(sampler, "batch_size", None),
    }


def _optimizer(optim: Any) -> dict[str, Any]:
    """Its kind, and what its groups began with."""
    groups: list[Mapping[str, Any]] = list(getattr(optim, "param_groups", ()))
    told: dict[str, Any] = {"name": type(optim).__name__}
    for key in _OPTIONS:
        values = [g.get(f"initial_{key}", g.get(key)) for g in groups]
        told[key] = sorted({float(v) for v in values if v is not None})
    return told
