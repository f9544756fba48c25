"""A sweep: check everything, make the runs that are not there yet, print and write the tables."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cerviclip.counted import counted
from cerviclip.environment import refuse_torchrun
from cerviclip.locks import AtWorkError, claimed
from cerviclip.runs.cluster.jobs_table import FILE as JOBS_TABLE
from cerviclip.runs.cluster.settings import cluster_settings
from cerviclip.runs.jobs.executors import outcomes
from cerviclip.runs.jobs.job import Job
from cerviclip.runs.results_json import read_results
from cerviclip.runs.run.process.summation_order import fix_summation_order
from cerviclip.runs.run.working_folder import create_writable, tidy_up_if_idle
from cerviclip.runs.settings.config_hash import flatten
from cerviclip.runs.settings.files.named_files import paths_to_watch
from cerviclip.runs.settings.flags import SWEEP, sweep_parser, sweep_request
from cerviclip.runs.settings.plan import Plan, RunSpec, make_plan
from cerviclip.runs.settings.requests import SweepRequest
from cerviclip.runs.study_title import check_titles
from cerviclip.runs.sweep import finished_index
from cerviclip.runs.sweep.executor_choice import executor_for
from cerviclip.runs.sweep.progress import SweepProgress, format_seconds
from dassl.errors import StoppedError, UserError, says_what_stays


@dataclass
class PlannedRun:
    """A run of the plan, its configuration and what its folder holds."""

    spec: RunSpec
    cfg: Any
    folder: Path
    state: str  # as of `runner.state_of`; "" where nobody asked
    config_hash: str


@dataclass(frozen=True)
class Swept:
    """What a sweep has done: its folder, its runs' folders in order, and how many failed now."""

    root: Path
    folders: list[Path]
    failed: int = 0


def main(argv: Sequence[str] | None = None, prog: str = SWEEP) -> int:
    """What ``run_shell.py`` and ``cerviclip sweep`` do; returns the exit status."""
    from rich.console import Console

    request = sweep_request(sweep_parser(prog).parse_args(argv))
    refuse_torchrun("start it without torchrun, with --jobs N for N processes")
    fix_summation_order()  # before torch is imported
    return 1 if run_sweep(request, Console(file=sys.stdout, highlight=False)).failed else 0


def run_sweep(request: SweepRequest, console: Any) -> Swept:
    """Make the runs that are not there yet; print to ``console`` (rich's) and write the tables."""
    plan = make_plan(request)
    cluster_settings(request)  # what is wrong with the flags shows before anything is read
    known = not (request.fresh or request.dry_run)
    index = finished_index.read_if_finished(plan) if known else None
    if index is not None:
        what = "chosen " if plan.unchosen else ""
        count, runs_are = len(index.runs), f"{what}runs of sweep {plan.name} are"
        said = f"all {count} {runs_are}" if count > 1 else f"the {what}run of sweep {plan.name} is"
        console.print(f"{said} finished", markup=False, soft_wrap=True)
        write_and_print_tables(plan, index, console)
        return Swept(plan.output_root, index.folders)
    runs = chosen_runs(plan, request.fresh)
    folders = [run.folder for run in runs]
    if request.dry_run:
        show_plan(runs, console)
        return Swept(plan.output_root, folders)
    retitle_finished(runs, request.fresh, console)
    pending = [run for run in runs if run.state != "done" or request.fresh]
    check_inputs(pending, in_this_process=request.jobs == 1 and not request.launcher)
    create_writable(plan.output_root)
    failed = make_runs(plan, runs, pending, request, console)
    unchosen = unchosen_runs(plan, set(folders))
    titles = [str(run.cfg.DATASET.TITLE) for run in runs]
    index = finished_index.SweepIndex(
        _folders_and_hashes(runs), _folders_and_hashes(unchosen), titles
    )
    files = {path for run in (*runs, *unchosen) for path in paths_to_watch(flatten(run.cfg))}
    finished_index.write(plan, index, files)
    write_and_print_tables(plan, index, console)
    if failed:
        console.print(
            f"[red]{failed} of {len(runs)} runs failed[/red]; the same command tries them again"
        )
    return Swept(plan.output_root, folders, failed)


def chosen_runs(plan: Plan, fresh: bool = False) -> list[PlannedRun]:
    """Configuration and state of every run that the flags ask for.

    Raises:
        UserError: a key or value that cannot be, or a folder with a run of other settings.
    """
    from cerviclip.runs.run.resume_check import check_resume
    from cerviclip.runs.run.runner import state_of
    from cerviclip.runs.settings.config_hash import config_hash
    from cerviclip.runs.settings.configure import setup_cfg

    runs: list[PlannedRun] = []
    by_folder: dict[Path, PlannedRun] = {}
    for spec in plan.runs:
        cfg = setup_cfg(spec.request(plan.output_root))
        folder = Path(cfg.OUTPUT_DIR)
        check_resume(cfg, folder, fresh)
        twin = by_folder.get(folder)
        if twin is not None:
            raise UserError(
                f"{twin.spec.title} and {spec.title} are the same run, {folder}: an override "
                "(--opts) makes their shots, seed or backbone equal"
            )
        run = PlannedRun(spec, cfg, folder, state_of(folder, cfg, fresh), config_hash(cfg))
        by_folder[folder] = run
        runs.append(run)
    check_titles((run.cfg.DATASET.NAME, run.cfg.DATASET.TITLE) for run in runs)
    return runs


def retitle_finished(runs: Sequence[PlannedRun], fresh: bool, console: Any) -> None:
    """Give the sweep's title to its finished runs, which are not made again for it."""
    from cerviclip.runs.run.finished import retitle

    finished = [run for run in runs if run.state == "done" and not fresh]
    renamed = [run for run in finished if retitle(run.folder, run.cfg.DATASET.TITLE)]
    for title in dict.fromkeys(run.cfg.DATASET.TITLE for run in renamed):
        number = sum(run.cfg.DATASET.TITLE == title for run in renamed)
        line = f"the title of {counted(number, 'finished run')} is now {title!r}"
        console.print(line, markup=False, emoji=False, soft_wrap=True)


def unchosen_runs(plan: Plan, taken: set[Path]) -> list[PlannedRun]:
    """The runs of the sweep's yaml that the flags leave out, but for those that cannot be
    configured here: they are for the table only, and nothing about them may stop it.

    Args:
        plan: the sweep.
        taken: folders of the runs that were asked for.
    """
    from cerviclip.runs.settings.config_hash import config_hash
    from cerviclip.runs.settings.configure import setup_cfg

    runs: dict[Path, PlannedRun] = {}
    for spec in plan.unchosen:
        with suppress(UserError):
            cfg = setup_cfg(spec.request(plan.output_root))
            folder = Path(cfg.OUTPUT_DIR)
            if folder not in taken:
                runs[folder] = PlannedRun(spec, cfg, folder, "", config_hash(cfg))
    return list(runs.values())


def check_inputs(runs: Sequence[PlannedRun], in_this_process: bool = True) -> None:
    """Load each dataset, external centre and backbone once, so that what is missing shows now.

    Args:
        runs: those to make.
        in_this_process: they will be made here, so a GPU may hold the backbones already.
    """
    from cerviclip.runs.run.inputs import check_data, uses_backbone
    from cerviclip.vlm import get_backbone
    from dassl.utils.distributed import choose_device

    datasets, told, backbones = set(), set(), set()
    for run in runs:
        cfg = run.cfg
        key = (str(cfg.DATASET), str(cfg.TEST.EXTERNAL)) if run.spec.num_shots == 0 else (
            cfg.DATASET.NAME, cfg.DATASET.ROOT, str(cfg.TEST.EXTERNAL), run.spec.opts
        )  # fmt: skip
        if key not in datasets:
            datasets.add(key)
            check_data(cfg, silent=(said := _said_of_data(cfg)) in told)
            told.add(said)
        name = (cfg.MODEL.BACKBONE.NAME, cfg.MODEL.INIT_WEIGHTS)
        if name not in backbones and uses_backbone(cfg):
            backbones.add(name)
            get_backbone(cfg, choose_device(cfg.USE_CUDA) if in_this_process else "cpu")


def _said_of_data(cfg: Any) -> str:
    """The settings whose images are described once: the folds and draws of one data set are not
    described each."""
    of_split = {"FOLD", "DRAW_FILE", "NUM_SHOTS", "NUM_SHOTS_VAL", "SHOTS_BY", "SHOTS_SCENARIO"}
    kept = {key: value for key, value in cfg.DATASET.items() if key not in of_split}
    return f"{kept} {cfg.TEST.EXTERNAL}"


def make_runs(
    plan: Plan,
    runs: Sequence[PlannedRun],
    pending: Sequence[PlannedRun],
    request: SweepRequest,
    console: Any,
) -> int:
    """Make the pending runs; returns how many failed.

    Raises:
        StoppedError: the disk is full or read-only: no further run could be written either.
        KeyboardInterrupt: Ctrl-C; the message says how many runs are finished.
    """
    done = len(runs) - len(pending)
    what = f"{counted(len(pending), 'run')} to do" + (f", {done} finished before" if done else "")
    head = f"sweep of {counted(len(runs), 'run')}: {what}; results in {plan.output_root}"
    console.print(head, markup=False, soft_wrap=True)
    jobs = [
        Job(i, run.spec, str(plan.output_root), request.fresh, run.cfg, os.path.abspath(run.folder))
        for i, run in enumerate(pending)
    ]
    made, failed, start = 0, 0, time.monotonic()
    at_once = request.array_parallelism or request.jobs
    progress = SweepProgress([run.spec for run in pending], done, at_once, console)

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    found = outcomes(
        executor_for(request, plan.output_root, len(jobs), say),
        jobs,
        lambda job: progress.started(job.spec),
        lambda n: say(f"{counted(n, 'run', 'are')} being made by another sweep; waiting"),
    )
    with says_what_stays(progress.finished), progress, closing(cast(Any, found)):
        for outcome in found:
            run = pending[outcome.job.number]
            made += 1
            if outcome.disk:
                raise StoppedError(f"{outcome.error} ({progress.finished()})")
            if outcome.error is not None:
                failed += 1
                record_failure(run, outcome.error)
                if request.debug:
                    console.print(outcome.trace, markup=False)
            progress.ended(run.spec, outcome.error, _scores(run.folder))
    if made:
        console.print(f"{counted(made, 'run')} in {format_seconds(time.monotonic() - start)}")
    return failed


def record_failure(run: PlannedRun, error: str) -> None:
    """See to it that the folder of a failed run says so (the run itself may have died)."""
    from cerviclip.runs.results_json import write_results
    from cerviclip.runs.run.failed import failed_results

    with suppress(AtWorkError, OSError), claimed(run.folder):  # another sweep may try it already
        if read_results(run.folder) is None:
            write_results(run.folder, failed_results(run.cfg, run.spec.variant, error))


def write_and_print_tables(plan: Plan, index: finished_index.SweepIndex, console: Any) -> None:
    """Write the sweep's files and print its table: of all its runs that are there, also when the
    flags picked a part of it."""
    from cerviclip.runs.report.costs import search_note
    from cerviclip.runs.report.formats import print_table
    from cerviclip.runs.report.groups import group_runs
    from cerviclip.runs.report.pooled import pooled_entries, pooled_tables
    from cerviclip.runs.report.tables import build_tables
    from cerviclip.runs.sweep.summary_files import (
        read_fitting_results,
        read_runs,
        replaced_note,
        warnings_of,
        write_summary,
    )

    # A kill may have left something beside what is finished.
    for folder in (*index.folders, plan.output_root / ".sweeps"):
        tidy_up_if_idle(folder)
    unchosen, n_other_settings = read_fitting_results(index.unchosen)
    runs = read_runs(index.folders) + unchosen
    groups = group_runs(runs, plan.order)
    pooled = pooled_entries(groups, plan.output_root)
    replaced = replaced_note(plan)
    written = write_summary(plan, runs, groups, pooled)
    for table in [*build_tables(groups, "accuracy"), *pooled_tables(pooled, "accuracy")]:
        print_table(table, console)
    if note := search_note(groups):
        console.print(note, markup=False)
    if warned := warnings_of(runs):
        console.print("warnings on the data:")
        for line in warned:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for run in runs:
        if run["status"] != "done":
            log = run["runtime"].get("job", {}).get("log")
            where = f" (log of its job: {log})" if log else ""
            line = f"failed: {run['folder']}: {run['error']}{where}"
            console.print(line, markup=False, soft_wrap=True)
    if n_other_settings:
        console.print(
            f"left out: {counted(n_other_settings, 'run')} of the sweep made with other settings "
            "than these"
        )
    if replaced:
        console.print(replaced, markup=False, soft_wrap=True)
    jobs = plan.output_root / JOBS_TABLE
    written += [jobs] if jobs.is_file() else []
    console.print(f"also: {', '.join(str(path) for path in written)}", markup=False, soft_wrap=True)


def show_plan(runs: Sequence[PlannedRun], console: Any) -> None:
    """``--dry-run``: every run and what would happen to it."""
    words = {"new": "to do", "unfinished": "to go on", "failed": "to try again", "done": "finished"}
    for run in runs:
        console.print(
            f"{words.get(run.state, 'to replace'):13}{run.folder}", markup=False, soft_wrap=True
        )
    todo = sum(run.state != "done" for run in runs)
    console.print(f"{counted(len(runs), 'run')}, {todo} to do")


def _folders_and_hashes(runs: Sequence[PlannedRun]) -> list[tuple[Path, str]]:
    return [(run.folder, run.config_hash) for run in runs]


def _scores(folder: Path) -> str:
    results = read_results(folder)
    if results is None or results["status"] != "done":
        return ""
    cells = [
        f"{name} {entry['accuracy']['value']:.1f}"
        for name, entry in results["centers"].items()
        if entry["accuracy"]["value"] is not None
    ]
    return ", ".join(cells)
