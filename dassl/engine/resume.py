"""Continuing a run exactly where its last checkpoint left it."""

from __future__ import annotations

import json
import os
import os.path as osp
import re
import shutil
from collections.abc import Mapping
from typing import Any

from dassl.errors import UserError
from dassl.utils import get_rng_state, set_rng_state
from dassl.utils.checkpoints import restore_checkpoint
from dassl.utils.distributed import is_main, wait_for_all

from .protocol import Trains

BEST_MODEL = "model-best.pth.tar"


def training_state(trainer: Trains) -> dict[str, Any]:
    """What a checkpoint holds besides a model, its optimiser and its scheduler."""
    scaler = getattr(trainer.precision, "scaler", None)
    return {
        "best_result": float(trainer.best_result),
        "history": [dict(row) for row in trainer._history],
        "search": {what: dict(cost) for what, cost in trainer._search.items()},
        "extra_results": _extra_results(trainer),
        "test_read_early": bool(getattr(getattr(trainer, "dm", None), "test_read_early", False)),
        "rng": get_rng_state(),
        "scaler": None if scaler is None else scaler.state_dict(),
        "backbone_sha256": _backbone_sha256(trainer),
    }


def resume_training(trainer: Trains, directory: str) -> int:
    """Load all models, optimisers and schedulers, the history and the random states.

    Args:
        trainer: its registered models are filled.
        directory: folder of the run that is continued.

    Returns:
        The epoch to go on with; 0 if there is nothing to continue.

    Raises:
        UserError: a checkpoint of another network, or learned beside another backbone.
    """
    names = trainer.get_model_names()
    file = common_checkpoint([osp.join(directory, name) for name in names])
    if file is None:
        print("No checkpoint found, train from scratch")
        return 0

    print(f"Found checkpoint at {directory} (will resume training)")
    checkpoint: dict[str, Any] = {}
    for name in names:
        path = osp.join(directory, name, file)
        checkpoint = restore_checkpoint(
            path, trainer._models[name], trainer._optims[name], trainer._scheds[name]
        )
        check_backbone(checkpoint, trainer, path)
        if is_main():
            _bring_best_along(osp.join(directory, name), osp.join(trainer.output_dir, name))
    wait_for_all()

    try:
        _take_over(trainer, checkpoint)
    except UserError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{directory}: what its checkpoint says beside its weights is damaged ({error}); go on "
            "from an earlier one, or train from the start"
        ) from error
    return int(checkpoint["epoch"])


def _take_over(trainer: Trains, checkpoint: Mapping[str, Any]) -> None:
    """History, best result, what was chosen and random states; files of upstream know none."""
    trainer.best_result = checkpoint.get("best_result", trainer.best_result)
    trainer._history = [dict(row) for row in checkpoint.get("history", [])]
    trainer._search.update(checkpoint.get("search") or {})
    if kept := checkpoint.get("extra_results"):  # what this process has found itself is newer
        trainer.extra_results = {**kept, **(getattr(trainer, "extra_results", None) or {})}
    if checkpoint.get("test_read_early"):
        if (dm := getattr(trainer, "dm", None)) is not None:
            dm.test_read_early = True
    scaler = getattr(trainer.precision, "scaler", None)
    if scaler is not None and checkpoint.get("scaler"):
        scaler.load_state_dict(checkpoint["scaler"])
    if checkpoint.get("rng") is not None:
        set_rng_state(checkpoint["rng"])


def _extra_results(trainer: Any) -> dict[str, Any]:
    """What results.json is to hold besides the scores, such as the settings chosen on val.

    Empty where a trainer of one's own keeps something there that no checkpoint could be read with.
    """
    record = getattr(trainer, "extra_results", None)
    try:
        plain = json.loads(json.dumps(record))
    except (TypeError, ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def check_backbone(checkpoint: Mapping[str, Any], trainer: Any, path: object) -> None:
    """What was learned beside a frozen backbone may fit another in shape and mean nothing there.

    Files of upstream do not say what they were trained on, and pass.

    Raises:
        UserError: the checkpoint says that it was trained on other weights than the trainer has.
    """
    trained, loaded = checkpoint.get("backbone_sha256") or "", _backbone_sha256(trainer)
    if trained and loaded and trained != loaded:
        raise UserError(
            f"{path} was trained on a backbone with weights {trained[:8]}, this run has "
            f"{trainer.backbone.name} with {loaded[:8]}; take the backbone it was trained with"
        )


def _backbone_sha256(trainer: Any) -> str:
    return getattr(getattr(trainer, "backbone", None), "weights_sha256", "")


def common_checkpoint(folders: list[str]) -> str | None:
    """The newest checkpoint file that every one of the folders has.

    The text file ``checkpoint`` names it. A run killed between the saves of two models leaves them
    at different epochs: then the newest epoch that all have.
    """
    if not folders or not all(osp.isdir(folder) for folder in folders):
        return None
    named = set()
    for folder in folders:
        try:
            with open(osp.join(folder, "checkpoint"), encoding="utf-8") as handle:
                named.add(handle.readline().strip())
        except (OSError, UnicodeDecodeError):
            named.add("")
    if len(named) == 1:
        file = named.pop()
        if file and all(osp.isfile(osp.join(folder, file)) for folder in folders):
            return file
    epochs = set.intersection(*(_epochs_in(folder) for folder in folders))
    return f"model.pth.tar-{max(epochs)}" if epochs else None


def _epochs_in(folder: str) -> set[int]:
    matches = (re.fullmatch(r"model\.pth\.tar-(\d+)", file) for file in os.listdir(folder))
    return {int(match.group(1)) for match in matches if match}


def _bring_best_along(source: str, target: str) -> None:
    """A run continued in another folder may never beat the best of the first: it needs the file."""
    best = osp.join(source, BEST_MODEL)
    if osp.isfile(best) and osp.abspath(source) != osp.abspath(target):
        os.makedirs(target, exist_ok=True)
        shutil.copy(best, osp.join(target, BEST_MODEL))
