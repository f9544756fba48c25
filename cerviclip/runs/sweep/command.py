"""A sweep: check everything, make the runs that are not there yet, print and write the tables."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip.runs.run.results_json import read_results
from cerviclip.runs.run.summation_order import fix_summation_order
from cerviclip.runs.run.working_folder import make_writable, tidy
from cerviclip.runs.settings.config_hash import flatten
from cerviclip.runs.settings.flags import parse_args, sweep_parser
from cerviclip.runs.settings.named_files import files_and_folders
from cerviclip.runs.settings.plan import Plan, RunSpec, make_plan
from cerviclip.runs.sweep import finished_index
from cerviclip.runs.sweep.progress import SweepProgress, format_seconds
from cerviclip.runs.sweep.workers import Job, run_jobs
from dassl.errors import UserError


@dataclass
class Task:
    """A run of the plan, its configuration and what its folder holds."""

    spec: RunSpec
    cfg: Any
    folder: Path
    state: str
    wanted: str  # config hash


def main(argv: Sequence[str] | None = None) -> int:
    """What ``run_shell.py`` and ``cerviclip sweep`` do; returns the exit status."""
    args = parse_args(sweep_parser(), argv)
    fix_summation_order()  # before torch is imported
    return sweep_command(args)


def sweep_command(args: argparse.Namespace) -> int:
    """A sweep whose flags are read."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    plan = make_plan(args)
    noted = None if args.fresh or args.dry_run else finished_index.finished_runs(plan)
    if noted is not None:
        what = "chosen " if plan.others else ""
        console.print(f"all {len(noted.runs)} {what}runs of sweep {plan.name} are finished")
        report(plan, noted, console)
        return 0
    tasks = prepare(plan, args.fresh)
    if args.dry_run:
        show_plan(tasks, console)
        return 0
    pending = [task for task in tasks if task.state != "done" or args.fresh]
    check_inputs(pending, args.jobs)
    make_writable(plan.output_root)
    failed = execute(plan, tasks, pending, args, console)
    others = other_tasks(plan, {task.folder for task in tasks})
    noted = finished_index.Noted(_wanted(tasks), _wanted(others))
    files = {path for t in (*tasks, *others) for path in files_and_folders(flatten(t.cfg))}
    finished_index.remember(plan, noted, files)
    report(plan, noted, console)
    if failed:
        console.print(
            f"[red]{failed} of {len(tasks)} runs failed[/red]; the same command tries them again"
        )
    return 1 if failed else 0


def prepare(plan: Plan, fresh: bool = False) -> list[Task]:
    """Every run's configuration and state.

    Raises:
        UserError: a key or value that cannot be, or a folder with a run of other settings.
    """
    from cerviclip.runs.run.resume_check import check_resume
    from cerviclip.runs.run.runner import state_of
    from cerviclip.runs.settings.config_hash import config_hash
    from cerviclip.runs.settings.configure import setup_cfg

    tasks: list[Task] = []
    for spec in plan.runs:
        cfg = setup_cfg(spec.namespace(plan.output_root))
        folder = Path(cfg.OUTPUT_DIR)
        check_resume(cfg, folder, fresh)
        twin = next((task for task in tasks if task.folder == folder), None)
        if twin is not None:
            raise UserError(
                f"{twin.spec.title} and {spec.title} are the same run, {folder}: an override "
                "(--opts) makes their shots, seed or backbone equal"
            )
        tasks.append(Task(spec, cfg, folder, state_of(folder, cfg, fresh), config_hash(cfg)))
    return tasks


def other_tasks(plan: Plan, taken: set[Path]) -> list[Task]:
    """The runs of the sweep's yaml that the flags leave out, but for those that cannot be
    configured here: they are for the table only, and nothing about them may stop it.

    Args:
        plan: the sweep.
        taken: folders of the runs that were asked for.
    """
    from cerviclip.runs.settings.config_hash import config_hash
    from cerviclip.runs.settings.configure import setup_cfg

    tasks: dict[Path, Task] = {}
    for spec in plan.others:
        with suppress(UserError):
            cfg = setup_cfg(spec.namespace(plan.output_root))
            folder = Path(cfg.OUTPUT_DIR)
            if folder not in taken:
                tasks[folder] = Task(spec, cfg, folder, "", config_hash(cfg))
    return list(tasks.values())


def check_inputs(tasks: Sequence[Task], jobs: int = 1) -> None:
    """Load each dataset, external centre and backbone once, so that what is missing shows now."""
    from cerviclip.data.external import build_external_datasets
    from cerviclip.engine.vlm_trainer import VLMTrainer
    from cerviclip.plugins import ensure_loaded
    from cerviclip.vlm import get_backbone
    from dassl.data.datasets import build_dataset
    from dassl.utils.distributed import choose_device

    datasets, backbones = set(), set()
    for task in tasks:
        cfg = task.cfg
        key = (str(cfg.DATASET), str(cfg.TEST.EXTERNAL)) if task.spec.num_shots == 0 else (
            cfg.DATASET.NAME, cfg.DATASET.ROOT, str(cfg.TEST.EXTERNAL), task.spec.opts
        )  # fmt: skip
        if key not in datasets:
            datasets.add(key)
            build_external_datasets(cfg, build_dataset(cfg))
        name = (cfg.MODEL.BACKBONE.NAME, cfg.MODEL.INIT_WEIGHTS)
        if name not in backbones and issubclass(
            ensure_loaded("trainer", cfg.TRAINER.NAME), VLMTrainer
        ):
            backbones.add(name)
            get_backbone(cfg, choose_device(cfg.USE_CUDA) if jobs == 1 else "cpu")


def execute(
    plan: Plan,
    tasks: Sequence[Task],
    pending: Sequence[Task],
    args: argparse.Namespace,
    console: Any,
) -> int:
    """Make the pending runs; returns how many failed."""
    done = len(tasks) - len(pending)
    what = f"{len(pending)} runs to do" + (f", {done} finished before" if done else "")
    console.print(f"sweep of {len(tasks)} runs: {what}; results in {plan.output_root}")
    jobs = [
        Job(i, task.spec, str(plan.output_root), args.fresh, task.cfg)
        for i, task in enumerate(pending)
    ]
    failed, start = 0, time.monotonic()
    progress = SweepProgress([task.spec for task in pending], done, args.jobs, console)
    with progress:
        for outcome in run_jobs(jobs, args.jobs, lambda job: progress.started(job.spec)):
            task = pending[outcome.job.number]
            if outcome.error is not None:
                failed += 1
                record_failure(task, outcome.error)
                if args.debug:
                    console.print(outcome.trace, markup=False)
            progress.ended(task.spec, outcome.error, _scores(task.folder))
    if pending:
        console.print(f"{len(pending)} runs in {format_seconds(time.monotonic() - start)}")
    return failed


def record_failure(task: Task, error: str) -> None:
    """See to it that the folder of a failed run says so (the run itself may have died)."""
    from cerviclip.runs.run.results_json import write_results
    from cerviclip.runs.run.runner import failed_results

    if read_results(task.folder) is None:
        write_results(task.folder, failed_results(task.cfg, task.spec.variant, error))


def report(plan: Plan, noted: finished_index.Noted, console: Any) -> None:
    """Write the sweep's files and print its table: of all its runs that are there, also when the
    flags picked a part of it."""
    from cerviclip.runs.report.tables import build_tables, group_runs, print_table
    from cerviclip.runs.sweep.summary_files import other_results, sweep_results, write_summary

    for folder in noted.folders:  # one that was being replaced at a kill may be finished, not tidy
        tidy(folder)
    others, strange = other_results(noted.others)
    runs = sweep_results(noted.folders) + others
    groups = group_runs(runs, plan.order)
    written = write_summary(plan, runs, groups)
    for table in build_tables(groups, "accuracy"):
        print_table(table, console)
    for run in runs:
        if run["status"] != "done":
            console.print(f"failed: {run['folder']}: {run['error']}", markup=False)
    if strange:
        console.print(f"left out: {strange} runs of the sweep made with other settings than these")
    console.print(f"also: {', '.join(str(path) for path in written)}", markup=False)


def show_plan(tasks: Sequence[Task], console: Any) -> None:
    """``--dry-run``: every run and what would happen to it."""
    words = {"new": "to do", "unfinished": "to go on", "failed": "to try again", "done": "finished"}
    for task in tasks:
        console.print(
            f"{words.get(task.state, 'to replace'):13}{task.folder}", markup=False, soft_wrap=True
        )
    todo = sum(task.state != "done" for task in tasks)
    console.print(f"{len(tasks)} runs, {todo} to do")


def _wanted(tasks: Sequence[Task]) -> list[tuple[Path, str]]:
    return [(task.folder, task.wanted) for task in tasks]


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
