"""How a sweep's runs are made: one after the other in this process, or in several processes.

An executor is all that the sweep knows of the places where its runs are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Protocol, cast

from cerviclip.runs.jobs.job import Job, Outcome, Retries, do_job
from cerviclip.runs.jobs.local_pool import LocalPool


class Executor(Protocol):
    """Makes runs somewhere."""

    def run(self, jobs: Sequence[Job], started: Callable[[Job], None]) -> Iterator[Outcome]:
        """Yield the outcome of every job as it comes; a run that fails or dies has one too.

        Closing the iterator, as Ctrl-C does, stops what is at work.

        Args:
            jobs: in the order to start them.
            started: called with each job as it starts.
        """
        ...


class InProcess:
    """One run after the other in this process, which keeps backbones and images loaded.

    Args:
        retries: whether a failed run is tried again; none is by default.
    """

    def __init__(self, retries: Retries | None = None) -> None:
        self.retries = retries or Retries()

    def run(self, jobs: Sequence[Job], started: Callable[[Job], None]) -> Iterator[Outcome]:
        for job in jobs:
            started(job)
            outcome = do_job(job)
            while self.retries.again(outcome):
                outcome = do_job(job)
            yield outcome


def outcomes(
    executor: Executor,
    jobs: Sequence[Job],
    started: Callable[[Job], None],
    waiting: Callable[[int], None],
) -> Iterator[Outcome]:
    """The outcome of every job; a run that another sweep is at work on comes last.

    By then the other sweep has made it, or has died and left it to this one.

    Args:
        executor: makes the runs.
        jobs: as of `Executor.run`, as is ``started``.
        waiting: called with the number of runs that others are at work on, if any.
    """
    of_others = []
    with closing(cast(Any, executor.run(jobs, started))) as made:
        for outcome in made:
            if outcome.at_work:
                of_others.append(replace(outcome.job, wait=True))
            else:
                yield outcome
    if of_others:
        waiting(len(of_others))
        with closing(cast(Any, executor.run(of_others, started))) as made:
            yield from made


def choose_executor(processes: int, n_jobs: int, retries: Retries | None = None) -> Executor:
    """The executor for ``--jobs``: no processes beside this one where one is enough.

    Args:
        processes: how many runs may be at work at a time.
        n_jobs: how many runs there are.
        retries: whether a failed run is tried again; none is by default.
    """
    needed = min(processes, n_jobs)
    return LocalPool(needed, retries) if needed > 1 else InProcess(retries)
