"""What one job does: a few runs, one after the other, in one process.

Runs of one backbone in one process load it once and share the feature store and decoded images.
A job may be stopped and start again at any moment, on another machine too; it then goes on with the
runs that its journal does not call ended. Needs no torch before it is called.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cerviclip.adopt.spec import is_adopted
from cerviclip.environment import JOB, JOB_LOG, job_record
from cerviclip.plugins import discover
from cerviclip.runs.cluster.journal import (
    ENDED,
    STARTED,
    STOPPED,
    Event,
    Journal,
    progress_of,
)
from cerviclip.runs.jobs.job import Job, do_job
from cerviclip.runs.results_json import read_results
from cerviclip.runs.run.process.stop import Stop, Stopped, stop_on_signals
from cerviclip.runs.settings.folders import RESULTS
from cerviclip.runs.settings.plan import RunSpec

#: Times in a row that a job's time may end without a new checkpoint.
FRUITLESS = 3
_MARGIN_S = 90  # Slurm's clock for the signal before the limit may be a minute early


@dataclass
class Pack:
    """The runs of one job; submitit pickles it and calls it on the job's machine.

    Attributes:
        jobs: the runs.
        journal: file of events.
        cwd: where relative paths begin.
        environment: variables to set before anything heavy is imported.
        limit_s: the job's time limit; None: none.
        grace_s: so long before it a signal comes.
    """

    jobs: list[Job]
    journal: str
    cwd: str
    environment: dict[str, str] = field(default_factory=dict)
    limit_s: float | None = None
    grace_s: float = 0.0

    def __call__(self) -> None:
        """Make the runs.

        Raises:
            SystemExit: stopped; the scheduler has the job again, or knows why it ends.
        """
        begun = time.monotonic()
        self._enter()
        journal = Journal(Path(self.journal), job_record())
        with stop_on_signals() as stop:
            ended = {event.folder for event in journal.events() if event.what == ENDED}
            mine = [job for job in self.jobs if job.folder not in ended]
            of_others = [job for job in mine if not stop.asked and self._make(job, journal, stop)]
            for job in of_others:  # by now another sweep has made it, or has died
                if not stop.asked:
                    self._make(replace(job, wait=True), journal, stop)
            ended = {event.folder for event in journal.events() if event.what == ENDED}
            left = [job for job in self.jobs if job.folder not in ended]
            if left:
                timed_out = self.limit_s is not None and (
                    time.monotonic() - begun >= self.limit_s - self.grace_s - _MARGIN_S
                )
                self._stop(left, journal, stop, timed_out)

    def _enter(self) -> None:
        """This process's folder, variables, and order of summation."""
        from cerviclip.runs.run.process.summation_order import VARIABLE, fix_summation_order

        os.chdir(self.cwd)
        os.environ.update(self.environment)
        if os.environ.get(VARIABLE, "").endswith(",STRICT"):  # of the submitting machine's CPU
            del os.environ[VARIABLE]
        fix_summation_order()
        job, log = _submitit_job()
        os.environ.update({JOB: job, JOB_LOG: log})

    def _make(self, job: Job, journal: Journal, stop: Stop) -> bool:
        """Make a run; returns whether another process is at work on it, and it was left alone."""
        journal.write(Event(STARTED, job.folder))
        stop.at_once = job.wait or is_adopted(job.spec.trainer)  # no epoch ends in this process
        try:
            outcome = do_job(job)
        except Stopped:
            return False
        finally:
            stop.at_once = False
        if outcome.at_work:
            return True
        if outcome.error is not None and stop.asked:
            # The signal reaches the run's helpers too (loader workers), which may die of it.
            _forget_failure(job.folder)
            return False
        error, trace = outcome.error, outcome.trace
        journal.write(
            Event(ENDED, job.folder, error, trace, final=outcome.final, disk=outcome.disk)
        )
        return False

    def _stop(self, left: Sequence[Job], journal: Journal, stop: Stop, timed_out: bool) -> None:
        """Note how far the job came; ask for another turn where nobody else does."""
        first = left[0].folder
        event = Event(STOPPED, first, progress=progress_of(first), timed_out=timed_out)
        journal.write(event)
        if fruitless(journal.events(), first) >= FRUITLESS:
            journal.write(Event(ENDED, first, too_short(self.limit_s), final=True))
            if len(left) == 1:
                return
        if not stop.queue_again and not preempted():
            raise SystemExit(128 + 15)  # cancelled, or its time is over: not for a job to undo
        if requeued():
            raise SystemExit(1)
        # Whoever submitted the job sees that it has ended early, and submits the rest.


def fruitless(events: Iterable[Event], folder: str) -> int:
    """How many times in a row, up to now, the time of a run's jobs ended where it had begun."""
    marks = [
        event.progress if event.timed_out else None
        for event in events
        if event.what == STOPPED and event.folder == folder
    ]
    count = 0
    for mark in reversed(marks):
        if mark is None or mark != marks[-1]:
            break
        count += 1
    return count


def too_short(limit_s: float | None) -> str:
    minutes = "" if limit_s is None else f" of {limit_s / 60:.0f} minutes"
    return (
        f"TimeoutError: the time{minutes} ended {FRUITLESS} times without a new checkpoint; "
        "give the jobs a longer --time"
    )


def _submitit_job() -> tuple[str, str]:
    """The job's id and its log, as submitit names them."""
    from submitit import JobEnvironment

    environment = JobEnvironment()
    return environment.job_id, str(environment.paths.stdout)


def preempted() -> bool:
    """Whether Slurm takes this job's machine away for another job. It sends the same SIGTERM as for
    ``scancel``; a job that ends by itself in its grace time would count as done."""
    try:
        said = subprocess.run(
            ["scontrol", "show", "job", os.environ.get("SLURM_JOB_ID", "")],
            capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return re.search(r"\bPreemptTime=\d", said) is not None


def requeued() -> bool:
    """Put this job back into the scheduler's queue; False where that cannot be done from here, such
    as on a node without scontrol."""
    from submitit import JobEnvironment

    try:
        JobEnvironment()._requeue(0)  # Slurm: scontrol requeue; local: SystemExit, and it restarts
    except (OSError, subprocess.SubprocessError) as error:
        print(f"cannot queue this job again ({error}); its runs wait to be submitted", flush=True)
        return False
    sys.stdout.flush()
    return True


def _forget_failure(folder: str) -> None:
    """The folder of a run that failed because its job was stopped is that of an unfinished one."""
    results = read_results(folder)
    if results is not None and results["status"] != "done":
        with suppress(OSError):
            Path(folder, RESULTS).unlink()


def in_packs(jobs: Sequence[Job], size: int) -> list[list[Job]]:
    """The runs of each job, in the order of their first runs.

    Runs that take seconds are put together where they have data set and backbone in common; each
    other run has a job of its own.

    Args:
        jobs: the runs.
        size: the most runs in one job.
    """
    packs: list[list[Job]] = []
    open_packs: dict[tuple[object, ...], list[Job]] = {}
    for job in jobs:
        key = _shared(job.spec)
        pack = open_packs.get(key)
        if not is_cheap(job.spec.trainer) or pack is None or len(pack) >= size:
            pack = []
            packs.append(pack)
            if is_cheap(job.spec.trainer):
                open_packs[key] = pack
        pack.append(replace(job, cfg=None))
    return packs


def _shared(spec: RunSpec) -> tuple[object, ...]:
    return (spec.dataset, spec.backbone, spec.weights, spec.root, spec.plugins)


def is_cheap(trainer: str) -> bool:
    """Whether a trainer's runs take seconds once its backbone and features are there."""
    entry = discover()["trainer"].get(trainer)
    return entry is not None and (entry.trains_in_seconds or not entry.needs_training)


def environment_of(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of this process's variables that change what a run does or where it looks."""
    names = ("OMP_NUM_THREADS", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    found = {k: v for k, v in variables.items() if k.startswith("CERVICLIP_") or k in names}
    return {key: value for key, value in found.items() if key not in (JOB, JOB_LOG)}
