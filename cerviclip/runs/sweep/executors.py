"""How a sweep's runs are made: one after the other in this process, or in several processes.

An executor is all that the sweep knows of the places where its runs are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from cerviclip.runs.sweep.job import Job, Outcome, do_job
from cerviclip.runs.sweep.local_pool import LocalPool


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
    """One run after the other in this process, which keeps backbones and images loaded."""

    def run(self, jobs: Sequence[Job], started: Callable[[Job], None]) -> Iterator[Outcome]:
        for job in jobs:
            started(job)
            yield do_job(job)


def choose_executor(processes: int, n_jobs: int) -> Executor:
    """The executor for ``--jobs``: no processes beside this one where one is enough.

    Args:
        processes: how many runs may be at work at a time.
        n_jobs: how many runs there are.
    """
    needed = min(processes, n_jobs)
    return LocalPool(needed) if needed > 1 else InProcess()
