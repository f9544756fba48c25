"""The executor of a sweep whose runs are jobs: submit what is lacking, follow it, try again.

Nothing is kept in this process alone. What was submitted stands in `submissions`, what the jobs did
in their journals; so a command that is stopped, or whose machine goes down, is simply given again.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from cerviclip.counted import counted
from cerviclip.runs.cluster.jobs_table import write_jobs_table
from cerviclip.runs.cluster.journal import ENDED, STARTED, STOPPED, Event, progress_of
from cerviclip.runs.cluster.pack import FRUITLESS, Pack, environment_of, in_packs, too_short
from cerviclip.runs.cluster.settings import SLURM, ClusterSettings
from cerviclip.runs.cluster.submissions import Submission, left_in, read_submissions
from cerviclip.runs.jobs.job import Job, Outcome, Retries
from dassl.errors import UserError

#: States after which the rest of a job is submitted again and no run is to blame.
TAKEN_AWAY = ("TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "REVOKED")


class Jobs(Protocol):
    """A place where jobs run."""

    launcher: str
    poll_s: float  # between two looks at the journals
    refused_at: float | None  # when it last refused jobs, by time.monotonic

    def room(self, at_work: int, waiting: int) -> int: ...

    def submit(self, packs: Sequence[Pack], submission: Submission) -> list[str]: ...

    def find(self, submission: Submission) -> list[str]: ...

    def ended(self, jobs: Sequence[str]) -> Mapping[str, str]: ...

    def leave(self, jobs: Sequence[str]) -> str: ...


def jobs_of(settings: ClusterSettings) -> Jobs:
    """The place that ``--launcher`` names."""
    if settings.launcher == SLURM:
        from cerviclip.runs.cluster.slurm import SlurmJobs

        return SlurmJobs(settings)
    from cerviclip.runs.cluster.local import LocalJobs

    return LocalJobs(settings)


class ClusterExecutor:
    """Makes runs as jobs.

    Args:
        settings: of the launcher.
        root: the sweep's folder.
        retries: whether a failed run is tried again.
        say: is called with a line for what somebody at the terminal should know.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        root: Path,
        retries: Retries,
        say: Callable[[str], None],
        wait: bool = True,
    ) -> None:
        self.settings, self.root, self.retries, self.say = settings, root, retries, say
        self.wait = wait
        self.place = jobs_of(settings)

    def run(self, jobs: Sequence[Job], started: Callable[[Job], None]) -> Iterator[Outcome]:
        """Yield the outcome of every job as it comes (`executors.Executor`). Where it does not
        wait it yields nothing: the runs are made after it has returned."""
        work = _Work(self, jobs, started)
        try:
            yield from work.go_on()
        finally:
            work.write_notes()
            if work.active and (line := self.place.leave(list(work.active))):
                self.say(line)


@dataclass
class _Running:
    """A job at work and where its journal was read to."""

    job: str
    submission: Submission
    number: int

    def __post_init__(self) -> None:
        self.journal = self.submission.journal(self.number)
        self.last: Event | None = None
        self.at_work = ""  # folder of the run that began and has not ended
        self.left = set(self.submission.packs[self.number])

    @property
    def log(self) -> str:
        return self.last.log if self.last is not None else str(self.submission.folder)

    @property
    def stopped(self) -> bool:
        return self.last is not None and self.last.what == STOPPED


class _Work:
    """One list of runs being made."""

    def __init__(
        self, executor: ClusterExecutor, jobs: Sequence[Job], started: Callable[[Job], None]
    ) -> None:
        self.of, self.started = executor, started
        self.place = executor.place
        self.pending = {job.folder: job for job in jobs}  # without an outcome yet
        self.active: dict[str, _Running] = {}  # by the scheduler's id
        self.progress: dict[str, str] = {}  # of runs whose job's time was over
        self.fruitless: Counter[str] = Counter()
        self.never_began: Counter[str] = Counter()
        self.waiting: deque[list[Job]] = deque()

    def go_on(self) -> Iterator[Outcome]:
        held = self._take_up()
        lacking = [job for folder, job in self.pending.items() if folder not in held]
        if held:
            self.of.say(f"{counted(len(held), 'run', 'are')} in jobs of an earlier command")
        self.waiting.extend(in_packs(lacking, self.of.settings.pack))
        while self.pending:
            self._submit()
            if not self.of.wait and not self.waiting:
                return
            for job, running in self._begun():
                yield from self._follow(running)
                if not running.left:
                    yield from self._see_off(job, "COMPLETED")
            states = self.place.ended(list(self.active))
            for job, state in states.items():
                yield from self._see_off(job, state)
            if self.pending and not states:
                time.sleep(self.place.poll_s)

    # -- submitting -------------------------------------------------------------------------------

    def _take_up(self) -> set[str]:
        """Find the jobs of earlier commands that are still at work; the folders of their runs."""
        held: set[str] = set()
        for submission in read_submissions(self.of.root):
            if submission.over or submission.launcher != self.place.launcher:
                continue
            if not submission.jobs:
                submission.jobs = self.place.find(submission)
                submission.over = not submission.jobs
                submission.write()
            for number, job in enumerate(submission.jobs):
                if left := left_in(submission, number):
                    held.update(folder for folder in left if folder in self.pending)
                    self.active[job] = _Running(job, submission, number)
        return held

    def _submit(self) -> None:
        """Submit as many of the waiting packs as there is room for."""
        while self.waiting and (room := self.place.room(len(self.active), len(self.waiting))) > 0:
            packs = [self.waiting.popleft() for _ in range(min(room, len(self.waiting)))]
            submission = Submission.new(
                self.of.root, self.place.launcher, [[job.folder for job in p] for p in packs]
            )
            submission.write()
            try:
                submission.jobs = self.place.submit(self._packs(packs, submission), submission)
            except UserError as error:
                submission.over = True
                submission.write()
                if not self.active:
                    raise
                self.of.say(f"{error}; {len(packs)} jobs wait until some of the others have ended")
                self.waiting.extendleft(reversed(packs))
                self.place.refused_at = time.monotonic()
                return
            submission.write()
            for number, job in enumerate(submission.jobs):
                self.active[job] = _Running(job, submission, number)

    def _packs(self, packs: Sequence[list[Job]], submission: Submission) -> list[Pack]:
        settings = self.of.settings
        return [
            Pack(
                pack,
                str(submission.journal(number).path),
                os.getcwd(),
                environment_of(os.environ),
                None if settings.minutes is None else settings.minutes * 60,
                settings.grace_s,
            )
            for number, pack in enumerate(packs)
        ]

    # -- following --------------------------------------------------------------------------------

    def _begun(self) -> list[tuple[str, _Running]]:
        """The active jobs that have a journal; one look at a folder for all jobs of an array."""
        there: dict[Path, set[str]] = {}
        begun = []
        for job, running in self.active.items():
            folder = running.submission.folder
            if folder not in there:
                there[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
            if running.journal.path.name in there[folder]:
                begun.append((job, running))
        return begun

    def _follow(self, running: _Running) -> Iterator[Outcome]:
        """The outcomes that a job's journal tells of since the last look."""
        for event in running.journal.news():
            running.last = event
            if event.what == STARTED:
                running.at_work = event.folder
                if event.folder in self.pending:
                    self.started(self.pending[event.folder])
            elif event.what == ENDED:
                running.at_work = ""
                running.left.discard(event.folder)
                yield from self._outcome(event)
            elif event.what == STOPPED:
                running.at_work = ""

    def _outcome(self, event: Event) -> Iterator[Outcome]:
        """The outcome of a run that has ended; none if it is tried again."""
        job = self.pending.get(event.folder)
        if job is None:
            return
        outcome = Outcome(job, event.error, event.trace, event.final, disk=event.disk)
        if self.of.retries.again(outcome):
            self.waiting.append([replace(job, cfg=None)])
            return
        del self.pending[event.folder]
        yield outcome

    def _see_off(self, job: str, state: str) -> Iterator[Outcome]:
        """What is to be done about the runs that an ended job leaves."""
        running = self.active.pop(job)
        yield from self._follow(running)  # what it wrote last
        self._note_over(running.submission)
        left = [f for f in running.submission.packs[running.number] if f in running.left]
        left = [folder for folder in left if folder in self.pending]
        blamed = self._blamed(left, running, state) if left else {}
        for folder, (error, final) in blamed.items():
            yield from self._outcome(Event(ENDED, folder, error, final=final))
        again = [self.pending[folder] for folder in left if folder not in blamed]
        if again:
            count = "its run goes" if len(again) == 1 else f"{len(again)} of its runs go"
            self.of.say(f"job {job} ended early ({state}); {count} on in a new one")
            self.waiting.append([replace(j, cfg=None) for j in again])

    def _blamed(
        self, left: Sequence[str], running: _Running, state: str
    ) -> dict[str, tuple[str, bool]]:
        """Which of the runs that are left have failed: why, and whether for good. The others are
        submitted again."""
        where = f"({state}; log: {running.log})"
        if state.startswith("CANCELLED"):
            return dict.fromkeys(left, (f"RuntimeError: its job {running.job} was cancelled", True))
        if running.stopped or state in TAKEN_AWAY:
            first = running.at_work or left[0]
            if state == "TIMEOUT" or (running.last is not None and running.last.timed_out):
                return self._too_slow(first)
            return {}
        if running.at_work:
            error = f"RuntimeError: its job {running.job} died {where}"
            return {running.at_work: (error, False)}
        twice = [folder for folder in left if self.never_began[folder]]
        self.never_began.update(left)  # once: the machine may be to blame, another one may do
        error = f"RuntimeError: its job {running.job} ended before it began a run {where}"
        return dict.fromkeys(twice, (error, False))

    def _too_slow(self, folder: str) -> dict[str, tuple[str, bool]]:
        """A run whose job's time was over again and again, with no checkpoint in between."""
        progress = progress_of(folder)
        same = self.progress.get(folder) == progress
        self.fruitless[folder] = self.fruitless[folder] + 1 if same else 1
        self.progress[folder] = progress
        if self.fruitless[folder] < FRUITLESS:
            return {}
        minutes = self.of.settings.minutes
        return {folder: (too_short(None if minutes is None else minutes * 60), True)}

    def _note_over(self, submission: Submission) -> None:
        if not any(running.submission is submission for running in self.active.values()):
            submission.over = True
            submission.write()

    def write_notes(self) -> None:
        """The table of jobs, which leads from a run to its log."""
        write_jobs_table(self.of.root)
