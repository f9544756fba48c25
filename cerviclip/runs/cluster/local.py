"""Jobs as processes of this machine, through submitit's local executor."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.places import PACKAGE
from cerviclip.runs.cluster.pack import Pack
from cerviclip.runs.cluster.settings import LOCAL, ClusterSettings
from cerviclip.runs.cluster.submissions import Submission
from cerviclip.runs.jobs.local_pool import device_names, environment_of_slot, variables_set

_NO_LIMIT_MIN = 60 * 24 * 366


class LocalJobs:
    """Starts and watches processes.

    Args:
        settings: of the sweep.
    """

    launcher = LOCAL
    poll_s = 0.2
    refused_at: float | None = None

    def __init__(self, settings: ClusterSettings) -> None:
        self.at_once = settings.at_once
        self.devices = device_names()
        self.slots: dict[str, int] = {}
        self.started: dict[str, Any] = {}  # submitit's jobs, by id

    def room(self, at_work: int, waiting: int) -> int:
        """How many more jobs may be submitted now."""
        return min(1, self.at_once - at_work)  # one by one: each has a slot of its own

    def submit(self, packs: Sequence[Pack], submission: Submission) -> list[str]:
        """Start one process."""
        import submitit

        (pack,) = packs
        taken = {self.slots[job] for job, at in self.started.items() if not at.done()}
        slot = min(set(range(self.at_once)) - taken, default=0)
        environment = environment_of_slot(slot, self.at_once, self.devices)
        pack.environment.update(environment)
        executor = submitit.LocalExecutor(submission.folder)
        executor.update_parameters(timeout_min=_NO_LIMIT_MIN, stderr_to_stdout=True)
        path = {"PYTHONPATH": python_path()}
        with variables_set({**pack.environment, **path}):
            job = executor.submit(pack)
        self.slots[job.job_id], self.started[job.job_id] = slot, job
        return [job.job_id]

    def find(self, submission: Submission) -> list[str]:
        """The ids of a submission that did not come to note them: a process without a note of its
        number has nobody to ask for it."""
        return []

    def ended(self, jobs: Sequence[str]) -> Mapping[str, str]:
        """Id -> state, of the jobs that are no longer at work."""
        states = {job: self._state(job) for job in jobs}
        return {job: state for job, state in states.items() if state != "RUNNING"}

    def _state(self, job: str) -> str:
        if job in self.started:  # a child of this process
            return self.started[job].get_info()["jobState"]
        return "RUNNING" if _is_ours(job) else "ENDED"

    def leave(self, jobs: Sequence[str]) -> str:
        """Stop what is at work: processes of this machine end with their sweep."""
        mine = [job for job in self.started.values() if not job.done()]
        for job in mine:
            job.cancel()
        deadline = time.monotonic() + 10
        while not all(job.done() for job in mine) and time.monotonic() < deadline:
            time.sleep(0.05)
        others = [job for job in jobs if job not in self.started]
        return f"processes {', '.join(others)} of an earlier command go on" if others else ""


def _is_ours(pid: str) -> bool:
    """Whether a process number, noted by an earlier command, is still that of submitit's."""
    try:
        words = Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return False
    return b"submitit" in words  # a zombie has none


def python_path() -> str:
    """What a job needs to import this project; what is there already comes behind it."""
    path = [str(PACKAGE.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return os.pathsep.join(dict.fromkeys(part for part in path if part))
