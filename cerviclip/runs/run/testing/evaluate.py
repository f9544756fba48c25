"""``--eval-only --model-dir RUN``: score a saved model without touching the run's files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cerviclip.engine.task import check_same_classes
from cerviclip.runs.run import run_files
from cerviclip.runs.run.load import check_trained, check_weights, saved_config, trained_classes
from cerviclip.runs.run.process.log import log_to
from cerviclip.runs.run.runner import Run, in_folder
from cerviclip.runs.run.testing.trained_on import TrainedOn
from cerviclip.runs.run.working_folder import undo_on_user_error
from cerviclip.runs.settings.config_hash import flatten
from dassl.config import CfgNode, read_yaml
from dassl.errors import UserError
from dassl.paths import exists, is_file
from dassl.utils.distributed import broadcast_object, is_main


def evaluate_run(
    cfg: CfgNode, model_dir: str, output_dir: str = "", epoch: int | None = None
) -> Path:
    """Score the model saved in ``model_dir``.

    Args:
        cfg: the run's own configuration, external centres changed if so wished.
        model_dir: the run's folder.
        output_dir: where to write; "" for ``model_dir/eval/<UTC time>``.
        epoch: that epoch's checkpoint; None for the run's final model.

    Returns:
        The folder that now holds results.json and predictions.csv.

    Raises:
        UserError: ``output_dir`` is a run's folder, the model cannot be used on these data, or it
            has learned from images that it is to be tested on.
    """
    if output_dir and Path(output_dir).resolve() == Path(model_dir).resolve():
        raise UserError(f"--output-dir {output_dir} is the run's own folder; choose another one")
    if output_dir and is_file(Path(output_dir) / "config.yaml"):
        raise UserError(
            f"--output-dir {output_dir} holds a run, whose results would be replaced; "
            "choose another one"
        )
    old = check_trained(Path(model_dir), epoch)
    folder = Path(output_dir) if output_dir else _new_folder(Path(model_dir) / "eval")
    folder = Path(broadcast_object(str(folder)))  # one for all processes of torchrun
    with ExitStack() as stack:
        if not output_dir and is_main():
            stack.enter_context(_removed_on_error(folder))
        if is_main():
            stack.enter_context(undo_on_user_error(folder))
            stack.enter_context(log_to(folder))
        run = Run(in_folder(cfg, folder), old.get("variant", "default"), str(folder))
        run.scored = old
        run.build()
        trainer = run.trainer
        check_weights(old, trainer, Path(model_dir))
        trainer.dm.training_ended = True
        if is_main():
            run_files.write_split(folder, trainer.dm.dataset, cfg)
        if getattr(trainer, "needs_training", True):
            trained = trained_classes(Path(model_dir))
            check_same_classes(model_dir, trained, trainer.dm.dataset.classnames)
            learned = _trained_on(run, Path(model_dir))
            learned.check(trainer.dm.dataset, cfg.TEST.SPLIT)
            learned.check_centers(run.external, trainer.dm.dataset)
            _mark(trainer.dm.dataset, learned, cfg, Path(model_dir))
            if is_main():
                learned.write_split(folder)
            trainer.load_model(model_dir, epoch=epoch)
            _bring_choices(trainer, old, epoch)
        predictions, centers = run.score()
        run.write(folder, predictions, centers, bool(old.get("test_read_early", False)))
    return folder


def _mark(dataset: Any, learned: TrainedOn, cfg: CfgNode, folder: Path) -> None:
    """Say in results.json what may make these numbers others than those of the run."""
    said = []
    if not learned.record:
        said.append(
            f"{folder} has no split.json: nobody checked whether its model has learned from images "
            "or patients that are tested here"
        )
    if is_file(folder / "config.yaml"):
        then, now = flatten(read_yaml(folder / "config.yaml", "config file")), flatten(cfg)
        keys = [key for key in now if key in then and key.startswith(_OF_A_MODEL)]
        other = [f"{key} {now[key]} (was {then[key]})" for key in keys if now[key] != then[key]]
        if other:
            said.append(f"scored with other settings than {folder} was trained with: {other}")
    for text in said:
        print(f"Warning: {text}")
    if isinstance(kept := getattr(dataset, "warnings", None), list):
        kept += said
    elif said:
        dataset.warnings = said


def _bring_choices(trainer: Any, old: Mapping[str, Any], epoch: int | None) -> None:
    """Count what was chosen on val for the saved model: nothing is chosen again here.

    Args:
        trainer: holds the model.
        old: results of its run.
        epoch: asked for, and so not the one that was chosen; None: the final model.
    """
    choices = dict((old.get("search") or {}).get("choices") or {})
    if epoch is not None:
        choices.pop("epoch", None)
    trainer._search = {**choices, **(getattr(trainer, "_search", None) or {})}
    record = ((old.get("runtime") or {}).get("trainer") or {}).get("search")
    if record:
        own = getattr(trainer, "extra_results", None) or {}
        trainer.extra_results = {"search": record, **own}


_OF_A_MODEL = ("TRAINER.", "MODEL.HEAD.", "INPUT.")


def _trained_on(run: Run, folder: Path) -> TrainedOn:
    """The images that the model in ``folder`` has learned from."""
    there = is_file(folder / "config.yaml")
    root = saved_config(folder).DATASET.ROOT if there else run.cfg.DATASET.ROOT
    return TrainedOn.of(folder, str(root), run.cfg, run.trainer.dm.dataset)


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    """Leave no folder of a broken evaluation within the run's own."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # other evaluations are there
            folder.parent.rmdir()
        raise


def _new_folder(parent: Path) -> Path:
    """``<parent>/<UTC time>``, with a number behind it when two come in one second."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    folder, n = parent / stamp, 1
    while exists(folder):
        n += 1
        folder = parent / f"{stamp}-{n}"
    return folder
