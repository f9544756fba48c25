"""One run: configuration in, a folder with results.json out."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from cerviclip.data.reading import Reading
from cerviclip.engine.task import Task, check_same_classes
from cerviclip.locks import claimed
from cerviclip.parallel.agreement import check_same_images
from cerviclip.runs.predictions import (
    NEW_PREDICTIONS,
    VAL_PREDICTIONS,
    Predictions,
    write_predictions,
)
from cerviclip.runs.report.groups import NEW
from cerviclip.runs.results_json import is_finished, read_results, write_results
from cerviclip.runs.run import run_files
from cerviclip.runs.run.failed import record_failure
from cerviclip.runs.run.finished import finished_before
from cerviclip.runs.run.inputs import (
    changed_inputs,
    check_has_training_images,
    check_names_and_values,
)
from cerviclip.runs.run.load import trained_classes
from cerviclip.runs.run.process.log import log_to, print_to_log
from cerviclip.runs.run.process.outside import FROM_OUTSIDE
from cerviclip.runs.run.process.rescue import rescued
from cerviclip.runs.run.process.runtime import begin_peak_memory, runtime_record
from cerviclip.runs.run.process.shown_warnings import kept_warnings
from cerviclip.runs.run.resume_check import check_resume, resumes_from
from cerviclip.runs.run.setup_record import setup_record
from cerviclip.runs.run.testing.new_classes import (
    base_to_new_record,
    check_can_be_built_anew,
    score_new_classes,
)
from cerviclip.runs.run.testing.scoring import (
    collect_predictions,
    measure_run,
    predict_val,
    print_again,
    print_centers,
    score_centers,
    score_subgroups,
)
from cerviclip.runs.run.testing.train_features import train_features
from cerviclip.runs.run.working_folder import (
    check_only_run_files,
    folder_beside,
    is_tidy,
    remove_run_files,
    replace_folder,
    tidy_up,
    undo_on_user_error,
)
from cerviclip.runs.settings.config_hash import config_hash, differing_keys
from cerviclip.runs.settings.folders import RESULTS
from cerviclip.runs.settings.run_key import RunKey
from cerviclip.runs.study_title import named
from dassl.config import CfgNode, read_yaml
from dassl.errors import UserError
from dassl.paths import is_dir, is_file
from dassl.utils.distributed import broadcast_object, is_main, main_first
from dassl.utils.files import atomic_write


def run_one(
    cfg: CfgNode,
    *,
    variant: str = "default",
    fresh: bool = False,
    echo: bool = True,
    train: bool = True,
    keep_user_errors: bool = False,
    make: Callable[[CfgNode, str, str], Run] | None = None,
    wait: bool = False,
) -> dict[str, Any]:
    """Train, score and write one run; a finished run of the same configuration is only read.

    The run's folder is claimed meanwhile: no two processes work on one run.

    Args:
        cfg: frozen, its OUTPUT_DIR the run's folder.
        variant: name of the sweep entry.
        fresh: run again; the old folder is replaced when the new one is done.
        echo: print to the console as well as to log.txt.
        train: False builds everything, as a check, and leaves nothing behind.
        keep_user_errors: write results.json for errors of the user's too (sweeps do).
        make: builds the run of a configuration, a variant and a final folder; None for `Run`.
        wait: for another process that is at work on the run.

    Returns:
        The content of results.json.

    Raises:
        AtWorkError: another process is at work on the run, and ``wait`` is not given.
    """
    if not is_main():
        return _help(cfg, variant, train)
    folder = Path(cfg.OUTPUT_DIR)
    check_resume(cfg, folder, fresh)
    done = train and not fresh and is_tidy(folder) and state_of(folder, cfg) == "done"
    if done:
        return finished_before(folder, cfg, variant, echo)
    work = partial(
        _run_in,
        cfg=cfg,
        variant=variant,
        echo=echo,
        keep_user_errors=keep_user_errors,
        make=make or Run,
    )
    with claimed(folder, wait):
        tidy_up(folder)
        if not train:
            state_of(folder, cfg, fresh)
            with folder_beside(folder, keep=False) as new:
                return work(new, train=False)
        return _run_claimed(folder, cfg, variant, fresh, echo, work)


def _run_claimed(
    folder: Path,
    cfg: CfgNode,
    variant: str,
    fresh: bool,
    echo: bool,
    work: Callable[[Path], dict[str, Any]],
) -> dict[str, Any]:
    """The run in its folder, whatever that holds."""
    old = state_of(folder, cfg, fresh)
    if old == "done" and not fresh:
        return finished_before(folder, cfg, variant, echo, held=True)
    if old == "unfinished" and not fresh or old == "failed" and resumes_from(cfg, folder):
        (folder / RESULTS).unlink(missing_ok=True)  # its checkpoints are what the run goes on from
    elif old in ("failed", "unfinished"):
        check_only_run_files(folder)
        remove_run_files(folder)
    if old not in ("done", "other"):
        return work(folder)
    check_only_run_files(folder)
    with folder_beside(folder) as new:
        results = work(new)
        replace_folder(folder, new)
    return results


def state_of(folder: Path, cfg: CfgNode, fresh: bool = False) -> str:
    """What a run's folder holds.

    Returns:
        ``new``; ``done`` (a finished run of this configuration); ``failed``; ``unfinished``
        (stopped on its way, by a kill or as `outside` has it); ``other`` (a finished run of another
        configuration, with ``fresh``).

    Raises:
        UserError: it holds a run of another configuration, and ``fresh`` is not given; or what is
            wrong with names and values of this one.
    """
    if not is_dir(folder):
        return "new"
    results, wanted = read_results(folder), config_hash(cfg)
    if is_finished(results, wanted):
        return "done"
    saved, keys = folder / "config.yaml", ["config.yaml (missing)"]
    if is_file(saved):
        keys = differing_keys(read_yaml(saved, "config file"), cfg)
    if results is not None and results["status"] != "done":
        stopped = results.get("runtime", {}).get(FROM_OUTSIDE) and not keys
        return "unfinished" if stopped else "failed"
    if results is None and not is_file(saved):
        return "new"
    if results is None and (fresh or not keys):
        return "unfinished"
    if fresh:
        return "other"
    sources = check_names_and_values(cfg)
    keys = keys or changed_inputs(results or {}, cfg, sources)
    what = "; ".join(keys) or "other files or code"
    raise UserError(
        f"{folder} holds a run of another configuration: {what}. "
        "Give --fresh to replace it, or another --output-dir or --variant NAME to keep both"
    )


def _help(cfg: CfgNode, variant: str, train: bool) -> dict[str, Any]:
    """The part of a further process of torchrun: the same run on its share, without the files."""
    folder = broadcast_object(None)
    if folder:
        Run(in_folder(cfg, Path(folder)), variant, cfg.OUTPUT_DIR).execute(train)
    return {}


def _run_in(
    folder: Path,
    cfg: CfgNode,
    variant: str,
    echo: bool,
    keep_user_errors: bool,
    make: Callable[[CfgNode, str, str], Run],
    train: bool = True,
) -> dict[str, Any]:
    """Make the run with ``folder`` as its folder, whatever cfg.OUTPUT_DIR says."""
    started = time.perf_counter()
    broadcast_object(str(folder))  # those that help begin
    at_work = in_folder(cfg, folder)
    undo = nullcontext() if keep_user_errors else undo_on_user_error(folder)
    with undo, log_to(folder, echo), kept_warnings() as shown:
        try:
            with atomic_write(folder / "config.yaml") as handle:
                handle.write(cfg.dump())
            run = make(at_work, variant, cfg.OUTPUT_DIR)
            run.shown_warnings = shown
            return run.execute(train)
        except Exception as error:
            if not isinstance(error, UserError) or keep_user_errors:
                record_failure(folder, cfg, variant, error, started)
            raise
        finally:
            with suppress(OSError):  # empty where tensorboard is not installed; the log says so
                (folder / "tensorboard").rmdir()
            gc.collect()


def in_folder(cfg: CfgNode, folder: Path) -> CfgNode:
    """A frozen copy of ``cfg`` that writes to ``folder``."""
    copy = cfg.clone()
    copy.defrost()
    copy.OUTPUT_DIR = str(folder)
    copy.freeze()
    return copy


class Run:
    """The steps of one run, and what they leave for results.json."""

    def __init__(self, cfg: CfgNode, variant: str, final_dir: str) -> None:
        self.cfg, self.key, self.final_dir = cfg, RunKey.of(cfg, variant), final_dir
        self.folder = Path(cfg.OUTPUT_DIR)
        self.seconds: dict[str, float] = {}
        self.started_at = datetime.now(timezone.utc)
        self.clock = time.perf_counter()
        begin_peak_memory()
        self.trainer: Any = None
        self.external: dict[str, list[Any]] = {}
        self.fingerprint = ""
        self.val: Predictions | None = None
        self.blocks: dict[str, Any] = {}
        self.subgroups: dict[str, Any] = {}
        self.base_to_new: dict[str, Any] = {}
        self.flow: dict[str, Any] = {}
        self.shown_warnings: list[str] = []
        self.scored: Mapping[str, Any] | None = None  # results of the run whose model is scored

    def execute(self, train: bool = True) -> dict[str, Any]:
        """Build, train, score, write; returns the content of results.json."""
        self.build()
        if not train:
            print("built everything; nothing was trained (--no-train)")
            return {}
        check_has_training_images(self.trainer)
        dm = self.trainer.dm
        self.check_classes()
        self.mark_resumed()
        if is_main():
            run_files.write_split(self.folder, dm.dataset, self.cfg)
            Task.of(dm.dataset).save(self.folder)
            Reading.of(self.cfg, dm.dataset).save(self.folder)
        self.train()
        read_early = bool(getattr(dm, "test_read_early", False))
        dm.training_ended = True
        if is_main():
            run_files.write_history(self.folder, self.history)
        predictions, centers = ([], {}) if self.cfg.TEST.NO_TEST else self.score()
        self.keep_train_features()
        self.check_backbone()
        return self.write(self.folder, predictions, centers, read_early)

    def build(self) -> None:
        """Seed everything and build the trainer: data, model, optimisers; find the centres."""
        from cerviclip.data.centers.external import build_external_datasets
        from cerviclip.data.flow import flow_of
        from cerviclip.data.images import cache as image_cache
        from cerviclip.data.images.packing import describe_use, use_pack, wanted_of
        from dassl.engine import build_trainer
        from dassl.utils import set_random_seed

        images = image_cache.enable()  # the runs of a sweep share decoded images
        use_pack(images, self.cfg.DATASET.PACKED)
        clock = time.perf_counter()
        print_config(self.cfg)
        set_random_seed(self.cfg.SEED)
        with main_first(), no_weights_are_an_error():
            self.trainer = build_trainer(self.cfg)
        if self.scores_new_classes:
            check_can_be_built_anew(self.trainer)
        self.trainer.test_after_train = False  # scored here, centre by centre
        # Found now, so that what is wrong with a centre is said before the training.
        dataset = self.trainer.dm.dataset
        with main_first():
            self.external = build_external_datasets(self.cfg, dataset)
        check_same_images(dataset, self.external)
        self.flow = flow_of(dataset, self.external)
        if images.pack is not None:
            wanted = wanted_of(self.trainer, self.external, whole=False)
            print("\n".join(describe_use(images.pack, wanted)))
        self.fingerprint = run_files.backbone_fingerprint(self.trainer, known=True)
        self.seconds["build"] = time.perf_counter() - clock

    def check_classes(self) -> None:
        """Refuse to go on from checkpoints of other classes than the data have now."""
        source = Path(self.cfg.RESUME or self.folder)
        if any(source.glob("*/model*.pth.tar*")):
            trained = trained_classes(source)
            check_same_classes(source, trained, self.trainer.dm.dataset.classnames)

    def mark_resumed(self) -> None:
        """Say in results.json where a training goes on from somebody's checkpoint that does not
        say what it has learned from."""
        source = self.cfg.RESUME
        if not source or resumes_from(self.cfg, Path(self.final_dir)):
            return
        if not is_file(Path(source) / "split.json"):
            text = (
                f"resumed from {source}, which has no split.json: nobody checked whether it has "
                "learned from images or patients that are tested here"
            )
            print(f"Warning: {text}")
            dataset = self.trainer.dm.dataset
            dataset.warnings = [*(getattr(dataset, "warnings", None) or []), text]

    def train(self) -> None:
        clock = time.perf_counter()
        if getattr(self.trainer, "needs_training", True):
            try:
                with rescued(self.trainer):
                    self.trainer.train()
            except Exception:
                self.keep_history()
                raise
        self.seconds["train"] = time.perf_counter() - clock

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """The engine's rows. A trainer written elsewhere may use ``history`` for something else."""
        return getattr(self.trainer, "_history", [])

    def keep_history(self) -> None:
        """history.csv of a training that broke: its losses say how it came to that."""
        if self.history and is_main():
            run_files.write_history(self.folder, self.history)

    def score(self) -> tuple[list[Predictions], dict[str, Any]]:
        """Predict and score the test set, then every external centre; measure them by val."""
        clock = time.perf_counter()
        predictions = collect_predictions(self.trainer, self.external)
        new = self.score_new() if self.scores_new_classes else None
        self.val = predict_val(self.trainer)  # last: what a model keeps of its images moves no test
        self.seconds["predict"] = time.perf_counter() - clock
        if not is_main():
            return [], {}
        clock = time.perf_counter()
        centers = score_centers(self.trainer, predictions)
        self.seconds["score"] = time.perf_counter() - clock
        clock = time.perf_counter()
        self.blocks = measure_run(self.trainer, self.val, predictions, centers)
        self.subgroups = score_subgroups(self.trainer, predictions, self.blocks)
        self.seconds["measure"] = time.perf_counter() - clock
        if new is not None:
            centers[NEW] = new
            self.base_to_new = base_to_new_record(self.trainer.dm.dataset, centers)
        return predictions, centers

    def keep_train_features(self) -> None:
        """train_features.safetensors: what a predictor compares new images with. Comes last, so
        that it moves no result."""
        clock = time.perf_counter()
        found = train_features(self.trainer)
        if found is not None and is_main():
            found.save(self.folder)
        self.seconds["train_features"] = time.perf_counter() - clock

    @property
    def scores_new_classes(self) -> bool:
        new = getattr(self.trainer.dm.dataset, "new_classes", None)
        return new is not None and self.cfg.TEST.SPLIT != "val"

    def score_new(self) -> dict[str, Any]:
        """Score the classes that a base-to-new run was not trained on."""
        found, entry = score_new_classes(self.trainer)
        if not is_main():
            return entry
        if found is not None:
            write_predictions(self.folder, [found], found.classnames, NEW_PREDICTIONS)
        else:
            print(f"{NEW}: not scored, {entry['accuracy']['reason']}")
        return entry

    def write(
        self,
        folder: Path,
        predictions: Sequence[Predictions],
        centers: Mapping[str, Any],
        read_early: bool,
    ) -> dict[str, Any]:
        """Predictions and figures, then results.json: what has that is finished."""
        if not is_main():
            return {}
        from cerviclip.runs.report.figures import run_figures

        clock = time.perf_counter()
        dataset = self.trainer.dm.dataset
        shown = named(self.key.dataset, self.cfg.DATASET.TITLE)
        print_centers(centers)
        print_again(getattr(dataset, "warnings", None) or [])
        write_predictions(folder, predictions, dataset.classnames)
        if self.val is not None:
            write_predictions(folder, [self.val], dataset.classnames, VAL_PREDICTIONS)
        run_figures(folder, centers, self.history, self.key.title_with(shown))
        self.seconds["files"] = time.perf_counter() - clock
        self.seconds["total"] = time.perf_counter() - self.clock
        results = run_files.results_record(
            self.key,
            self.cfg,
            status="done",
            trainer=self.trainer,
            centers=centers,
            setup=setup_record(self.trainer, self.scored),
            blocks=self.blocks,
            subgroups=self.subgroups,
            test_read_early=read_early,
            base_to_new=self.base_to_new,
            flow=self.flow,
            runtime=runtime_record(self),
        )
        write_results(folder, results)
        return results

    def check_backbone(self) -> None:
        """The backbone is shared by all runs of a sweep: a run that alters it has failed."""
        if run_files.backbone_fingerprint(self.trainer) != self.fingerprint:
            run_files.forget_backbones()
            name = self.cfg.TRAINER.NAME
            raise RuntimeError(f"{name} altered the shared backbone; a trainer must adapt a copy")


@contextmanager
def no_weights_are_an_error() -> Iterator[None]:
    """Upstream's loader warns of a file that fits nowhere, and trains on from random weights."""
    start = "Cannot load weights from"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=start)
            yield
    except UserWarning as warning:
        if not str(warning).startswith(start):
            raise
        raise UserError(f"{warning}; give weights of this network by --weights") from None


def print_config(cfg: CfgNode) -> None:
    """The configuration between rows of asterisks, as upstream's train.py prints it; in log.txt
    alone, as its 150 lines would push all else off the screen."""
    print_to_log(f"***************\n** Config **\n***************\n{cfg}")
