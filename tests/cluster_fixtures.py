"""Jobs for tests: a place that runs them in this process, and the runs of a sweep for it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from cerviclip.runs.cluster import executor as executor_module
from cerviclip.runs.cluster.executor import ClusterExecutor
from cerviclip.runs.cluster.settings import ClusterSettings
from cerviclip.runs.jobs.job import Job, Retries
from cerviclip.runs.settings.flags import sweep_parser, sweep_request
from cerviclip.runs.settings.plan import make_plan


def jobs_of(zoo, text: str) -> list[Job]:
    """The runs of a sweep with this text, as a sweep gives them to its executor."""
    plan = make_plan(sweep_request(sweep_parser().parse_args(zoo.sweep(text))))
    folders = [spec.request(zoo.out) for spec in plan.runs]
    from cerviclip.runs.settings.configure import setup_cfg

    return [
        Job(i, spec, str(zoo.out), folder=os.path.abspath(setup_cfg(request).OUTPUT_DIR))
        for i, (spec, request) in enumerate(zip(plan.runs, folders, strict=True))
    ]


class InlineJobs:
    """Jobs made one after the other in this process, pickled and begun as submitit does it.

    Attributes:
        submitted: the runs' folders of each job that was submitted.
        states: what is said of the next jobs instead of running them, such as ``["NODE_FAIL"]``.
    """

    launcher = "local"
    poll_s = 0.0

    def __init__(self, states: list[str] | None = None) -> None:
        self.refused_at = None
        self.submitted: list[list[str]] = []
        self.states = list(states or [])
        self.at_work: dict[str, Path] = {}
        self.left: list[str] = []

    def room(self, at_work: int, waiting: int) -> int:
        return min(2, waiting)

    def submit(self, packs, submission) -> list[str]:
        from submitit.core.utils import DelayedSubmission, JobPaths

        ids = []
        for pack in packs:
            number = str(len(self.submitted))
            self.submitted.append([job.folder for job in pack.jobs])
            DelayedSubmission(pack).dump(JobPaths(submission.folder, number).submitted_pickle)
            self.at_work[number] = submission.folder
            ids.append(number)
        return ids

    def find(self, submission) -> list[str]:
        return []

    def ended(self, jobs) -> dict[str, str]:
        number = next(iter(jobs), None)
        if number is None:
            return {}
        folder = self.at_work.pop(number)
        if self.states and (state := self.states.pop(0)):
            return {number: state}
        return {number: run_here(folder, number)}

    def leave(self, jobs) -> str:
        self.left = list(jobs)
        return f"{len(jobs)} left"


def run_here(folder: Path, number: str) -> str:
    """What the process of a local job does; returns the state of the job afterwards."""
    from submitit.core.submission import process_job

    os.environ.update({"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": number})
    names = (signal.SIGTERM, signal.SIGCONT, signal.SIGUSR2)
    before = {name: signal.getsignal(name) for name in names}
    try:
        process_job(folder)
        return "COMPLETED"
    except SystemExit:
        return "FAILED"
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def executor_on(place, root: Path, monkeypatch, retries: int = 0, **settings) -> ClusterExecutor:
    """A cluster executor on this place; its ``said`` are the lines for the terminal."""
    monkeypatch.setattr(executor_module, "jobs_of", lambda _: place)
    said: list[str] = []
    made = ClusterExecutor(
        ClusterSettings(**settings), root, Retries(retries, said.append), said.append
    )
    made.said = said  # type: ignore[attr-defined]
    return made
