"""``load_run``: a trained model from a run's folder, without its data.

What is needed: the folder (``config.yaml``, ``task.json``, checkpoints), the backbone's weights,
and the module that registers the trainer. Neither the images nor the data set's code are looked
for.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cerviclip import plugins
from cerviclip.runs.run.process.summation_order import fix_summation_order

fix_summation_order()  # before torch is at work: else a frozen feature may round the other way

# ruff: noqa: E402
from cerviclip.data.split.record import read_split_record
from cerviclip.engine.final_model import FinalModel
from cerviclip.engine.task import Task
from cerviclip.engine.without_images import ManagerWithoutImages
from cerviclip.environment import USUAL_STORE_DTYPE
from cerviclip.runs.results_json import read_results
from cerviclip.runs.run.run_files import weights_sha256
from cerviclip.runs.settings.folders import no_run
from dassl.config import CfgNode, get_cfg_default, merge_file
from dassl.data.transforms import build_transform
from dassl.engine.resume import BEST_MODEL, common_checkpoint
from dassl.errors import MissingFileError, UnknownNameError, UserError
from dassl.paths import is_file
from dassl.utils import set_random_seed
from dassl.utils.rng import get_rng_state, set_rng_state


class LoadedRun(NamedTuple):
    """A run's configuration, its task, and its trainer with the final model's weights."""

    cfg: CfgNode
    task: Task
    trainer: Any


def load_run(
    folder: str | Path,
    weights: str | Path = "",
    *,
    device: str = "",
    epoch: int | None = None,
    plugin: str | Sequence[str] = (),
) -> LoadedRun:
    """Load a run's model, ready to predict.

    ``trainer.predict_images`` takes files and images, ``trainer.model_inference`` pixels
    (B, 3, H, W) behind ``trainer.tfm_test``. Nothing is written, and the random generators are left
    as they were. Probabilities are those of the run's predictions.csv where this module is imported
    before torch has computed anything, and differ by about 1e-5 where it is not.

    Args:
        folder: of the run.
        weights: the backbone's file, where the one that the run names is elsewhere.
        device: ``cpu`` or ``cuda``; a GPU is taken by default where there is one.
        epoch: a saved epoch; None takes the final model, the one that was tested.
        plugin: a module or file to look for the trainer in, or several.

    Raises:
        UserError: a file is missing or is not the run's, or nothing registers its trainer.
    """
    folder = Path(folder)
    plugins.add_plugins([plugin] if isinstance(plugin, str) else plugin)
    results = check_trained(folder, epoch)
    name = saved_config(folder).TRAINER.NAME
    try:
        kind = plugins.ensure_loaded("trainer", name)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{folder} was trained by {name}, which no trainer here is called; name the module or "
            "file that registers it (--plugin FILE.py, in Python plugin=)"
        ) from error
    cfg = saved_config(folder, kind)
    task = Task.load(folder) or task_of_old_run(folder, cfg)
    check_task(task, results, folder)
    state = get_rng_state()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            set_random_seed(max(0, cfg.SEED))
            trainer = _build(kind, _for_building(cfg, kind, folder, weights, device), task)
            check_weights(results, trainer, folder)
            _load_weights(trainer, folder, epoch)
    finally:
        set_rng_state(state)
    trainer.set_model_mode("eval")
    return LoadedRun(cfg, task, trainer)


def check_trained(folder: Path, epoch: int | None) -> dict[str, Any]:
    """results.json of a run whose model may be used; empty for a folder that has none.

    Raises:
        UserError: the run is not finished, and no epoch is named.
    """
    results = read_results(folder)
    ours = results is not None or is_file(folder / "config.yaml")
    status = "unfinished" if results is None else results["status"]
    if ours and status != "done" and epoch is None:
        raise UserError(
            f"{folder} holds a run that is {status}, not done; finish it, or name one of its "
            "checkpoints by its epoch (cerviclip train --eval-only --load-epoch N)"
        )
    return results or {}


def check_task(task: Task, results: dict[str, Any], folder: Path) -> None:
    """A model's outputs are numbered: a task.json with other names, or the same in another order,
    fits it and gives each answer the name of another class.

    Raises:
        UserError: the run's other files name other classes or other positive ones.
    """
    known: tuple[str, ...] = ()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = tuple(read_split_record(folder / "split.json")["classes"])
    rest = iter(known)  # a half of the classes (base to new) keeps their order
    if known and not all(name in rest for name in task.classnames):
        raise UserError(
            f"{folder}: task.json has the classes {', '.join(task.classnames)[:300]}, and "
            f"split.json has {', '.join(known)[:300]}; one of them was edited: take both as the "
            "run wrote them"
        )
    positive = set(results.get("positive_classes") or ())
    if positive and positive != set(task.positive):
        raise UserError(
            f"{folder}: task.json has the positive classes {', '.join(task.positive) or 'none'}, "
            f"and results.json has {', '.join(sorted(positive))}; take both as the run wrote them"
        )


def check_weights(results: dict[str, Any], trainer: Any, folder: Path) -> None:
    """What was learned beside a frozen backbone may fit another in shape and mean nothing there.

    Raises:
        UserError: the trainer's backbone has other weights than the run's.
    """
    trained = results.get("weights_sha256")
    loaded = weights_sha256(trainer.cfg, trainer)
    if trained and loaded and trained != loaded:
        raise UserError(
            f"{folder}: the run's backbone has weights {trained[:8]}, those given now are "
            f"{loaded[:8]}; take the weights it was trained with"
        )


def saved_config(folder: Path, kind: type | None = None) -> CfgNode:
    """A run's config.yaml over the defaults, those of its trainer included.

    Keys that nobody knows any more, or that the data set's code would add, are taken as they are.
    """
    path = folder / "config.yaml"
    if not is_file(path):
        raise MissingFileError(no_run(folder, "config.yaml"))
    cfg = get_cfg_default()
    for module in dict.fromkeys(base.__module__ for base in reversed(getattr(kind, "__mro__", ()))):
        if extend := plugins.extend_cfg_of(module):
            extend(cfg)
    cfg.set_new_allowed(True)
    merge_file(cfg, path)
    cfg.OUTPUT_DIR = str(folder)
    cfg.RESUME = ""
    cfg.freeze()
    return cfg


def trained_classes(folder: Path) -> tuple[str, ...]:
    """The classes of a run in label order, from whichever of its files tells them; () where none
    does."""
    task = Task.load(folder)
    if task is not None:
        return task.classnames
    with contextlib.suppress(OSError, ValueError, KeyError):
        return tuple(read_split_record(folder / "split.json")["classes"])
    with contextlib.suppress(OSError, ValueError, StopIteration, csv.Error):
        with open(folder / "predictions.csv", encoding="utf-8", newline="") as handle:
            head = next(csv.reader(handle))
        return tuple(name.removeprefix("p_") for name in head if name.startswith("p_"))
    return ()


def task_of_old_run(folder: Path, cfg: CfgNode) -> Task:
    """The task of a run that was saved before there was task.json.

    Classes come from the run's files. Texts come from its settings and from the data set's class,
    whose images are not needed.

    Raises:
        UserError: the classes or the data set's class are nowhere to be found.
    """
    classnames = trained_classes(folder) or tuple(map(str, cfg.DATASET.CLASSES))
    if not classnames:
        raise UserError(f"{folder} does not say its classes: no task.json, split.json, predictions")
    try:
        dataset: Any = plugins.ensure_loaded("dataset", cfg.DATASET.NAME)
    except (UnknownNameError, UserError) as error:
        raise UserError(
            f"{folder} has no task.json, and nothing here registers its data set "
            f"{cfg.DATASET.NAME}, which its texts come from; name the module or file "
            "that does (--plugin FILE.py, in Python plugin=)"
        ) from error
    from cerviclip.data.texts.descriptions import load_descriptions

    source = cfg.DATASET.DESCRIPTIONS or getattr(dataset, "prompts", "")
    templates = cfg.DATASET.TEMPLATES or getattr(dataset, "templates", ())
    positive = (read_results(folder) or {}).get("positive_classes") or ()
    stand_in = type(
        cfg.DATASET.NAME,
        (),
        {
            "classnames": classnames,
            "templates": templates if isinstance(templates, (list, tuple)) else (),
            "descriptions": load_descriptions(source, classnames),
            "positive_classes": positive,
        },
    )
    return Task.of(stand_in())


def _for_building(
    cfg: CfgNode, kind: Any, folder: Path, weights: str | Path, device: str
) -> CfgNode:
    """The run's configuration with the files and the device of here and now."""
    cfg = cfg.clone()
    cfg.defrost()
    if device not in ("", "cpu", "cuda"):
        raise UserError(f"device {device!r}; take cpu or cuda")
    cfg.USE_CUDA = device == "cuda" or (cfg.USE_CUDA and device == "")
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.INPUT.STORE_DTYPE = cfg.INPUT.STORE_DTYPE or USUAL_STORE_DTYPE
    if weights:
        cfg.MODEL.INIT_WEIGHTS = str(weights)
    elif getattr(kind, "saves_all_weights", False):
        cfg.MODEL.INIT_WEIGHTS, cfg.MODEL.BACKBONE.PRETRAINED = "", False
    given = cfg.MODEL.INIT_WEIGHTS
    if given and not is_file(os.path.expanduser(given)):
        raise MissingFileError(
            f"{folder}: the backbone's weights {given} are not there; say where they are now "
            "(weights=FILE, --weights FILE)"
        )
    cfg.freeze()
    return cfg


def _build(kind: Any, cfg: CfgNode, task: Task) -> Any:
    """A trainer whose data manager knows the task alone."""
    stand_in = {"make_data_manager": lambda self: ManagerWithoutImages(self.cfg, task)}
    trainer = type(kind.__name__, (kind,), {"__module__": kind.__module__, **stand_in})(cfg)
    if not hasattr(trainer, "tfm_test"):
        trainer.tfm_test = build_transform(cfg, is_train=False)
    return trainer


def _load_weights(trainer: Any, folder: Path, epoch: int | None) -> None:
    if not getattr(trainer, "needs_training", True):
        return
    if epoch is None and not isinstance(trainer, FinalModel):
        epoch = _last_epoch(trainer, folder)
    trainer.load_model(str(folder), epoch=epoch)


def _last_epoch(trainer: Any, folder: Path) -> int | None:
    """The last saved epoch of a trainer with upstream's ``load_model``, which looks for the best
    on val; None where that is what the run has deployed."""
    folders = [folder / name for name in trainer.get_model_names()]
    best = trainer.cfg.TEST.FINAL_MODEL == "best_val"
    if best and all(is_file(path / BEST_MODEL) for path in folders):
        return None
    match = re.search(r"-(\d+)$", common_checkpoint([str(path) for path in folders]) or "")
    return int(match.group(1)) if match else None
