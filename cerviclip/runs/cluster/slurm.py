"""Jobs of Slurm, through submitit: arrays of them, and what became of each."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence

from cerviclip.runs.cluster.local import python_path
from cerviclip.runs.cluster.pack import Pack
from cerviclip.runs.cluster.settings import SLURM, ClusterSettings
from cerviclip.runs.cluster.submissions import Submission
from dassl.errors import UserError

_USUAL_ARRAY = 1000
_TRUST_STATE_AFTER = 2  # looks: a job that queues itself again is in no queue for a moment
_TRUST_QUEUE_AFTER = 3  # looks: sacct may be behind squeue, or may not be there
_AT_WORK = ("PENDING", "RUNNING", "REQUEUED", "COMPLETING", "SUSPENDED")


class SlurmJobs:
    """Submits and watches jobs.

    Args:
        settings: of the sweep.
    """

    launcher = SLURM
    poll_s, states_s = 2.0, 30.0

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        self.array = max_array_size()
        self.last = ""  # id of the array before, which the next one waits for
        self.looked = 0.0
        self.gone: dict[str, int] = {}  # id -> looks in which the queue did not have it
        self.refused_at: float | None = None

    def room(self, at_work: int, waiting: int) -> int:
        """How many more jobs may be submitted now; Slurm keeps those that must wait."""
        if self.refused_at is not None and time.monotonic() - self.refused_at < self.states_s:
            return 0
        return min(waiting, self.array)

    def submit(self, packs: Sequence[Pack], submission: Submission) -> list[str]:
        """Submit one array, or a single job.

        Raises:
            UserError: sbatch refuses it, and nothing of this sweep is there to wait for.
        """
        import submitit

        executor = submitit.SlurmExecutor(submission.folder)
        settings = self.settings
        optional = {
            "partition": settings.partition or None,
            "gpus_per_node": settings.gpus or None,
            "mem": None if settings.mem_gb is None else f"{round(settings.mem_gb * 1024)}M",
            "dependency": f"afterany:{self.last}" if self.last else None,
        }
        executor.update_parameters(
            job_name=submission.name,
            time=settings.minutes,
            cpus_per_task=settings.cpus,
            array_parallelism=settings.at_once,
            signal_delay_s=settings.grace_s,
            stderr_to_stdout=True,
            setup=[f"export PYTHONPATH={shlex.quote(python_path())}", *_exports(packs[0])],
            # From Slurm 22.05 on srun does not take it from the job.
            srun_args=[f"--cpus-per-task={settings.cpus}"],
            additional_parameters={"requeue": True, **dict(settings.extra)},
            **{key: value for key, value in optional.items() if value is not None},
        )
        try:
            jobs = executor.submit_array(list(packs))
        except submitit.core.utils.FailedJobError as error:
            raise UserError(_refusal(error)) from error
        ids = [job.job_id for job in jobs]
        self.last = ids[0].partition("_")[0] if len(packs) == self.array else ""
        return ids

    def find(self, submission: Submission) -> list[str]:
        """The ids of a submission that a kill kept from noting them, by the name of its jobs.

        Raises:
            UserError: Slurm does not answer. Its jobs may be at work, so nothing is submitted anew.
        """
        lines = _ask("squeue", "-h", "-o", "%F", "--name", submission.name)
        if lines is None:
            raise UserError(
                f"squeue does not answer, so nobody knows whether the jobs {submission.name} of an "
                "earlier command are at work; give the command again when it does"
            )
        lines = lines or _ask("sacct", "-n", "-X", "-P", "-o", "JobID", "--name", submission.name)
        first = next((line.partition("_")[0] for line in lines or () if line), "")
        if not first:
            return []
        count = len(submission.packs)
        return [first] if count == 1 else [f"{first}_{number}" for number in range(count)]

    def ended(self, jobs: Sequence[str]) -> Mapping[str, str]:
        """Id -> state, of the jobs that are no longer at work."""
        if time.monotonic() - self.looked < self.states_s:
            return {}
        self.looked = time.monotonic()
        queued = in_queue()
        if queued is None:  # the controller does not answer: nothing is known
            return {}
        absent = [job for job in jobs if job not in queued]
        for job in set(self.gone) - set(absent):
            del self.gone[job]  # it has come back, by a requeue
        return self._states(absent)

    def _states(self, absent: Sequence[str]) -> dict[str, str]:
        states = {}
        known = final_states(absent) if absent else {}
        for job in absent:
            self.gone[job] = self.gone.get(job, 0) + 1
            state = known.get(job, "")
            over = state and state not in _AT_WORK
            if over and self.gone[job] >= _TRUST_STATE_AFTER:
                states[job] = state
            elif self.gone[job] >= _TRUST_QUEUE_AFTER:
                states[job] = "ENDED"
        for job in states:
            del self.gone[job]
        return states

    def leave(self, jobs: Sequence[str]) -> str:
        """What becomes of the jobs as the command ends: they go on."""
        ids = sorted({job.partition("_")[0] for job in jobs}, key=int)
        count = "1 job goes" if len(jobs) == 1 else f"{len(jobs)} jobs go"
        return f"{count} on; the same command finds them (scancel {' '.join(ids)} would end them)"


#: What sbatch says where it finds no controller, or no configuration that names one.
_UNREACHABLE = ("unknown host", "unable to contact", "could not establish a configuration")


def _refusal(error: Exception) -> str:
    """The line that sbatch says, out of submitit's message."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = next((line for line in lines if line.startswith("sbatch: error:")), "")
    said = said.removeprefix("sbatch: error:").strip() or " ".join(lines)[:300]
    if any(word in said.lower() for word in _UNREACHABLE):
        return f"sbatch does not reach Slurm: {said}; start the sweep where sbatch and sinfo answer"
    return f"sbatch refuses the jobs: {said}; correct --partition, --time, --gpus, --mem or --slurm"


def _exports(pack: Pack) -> list[str]:
    """Also where the site keeps sbatch from handing on the environment."""
    return [f"export {key}={shlex.quote(value)}" for key, value in pack.environment.items()]


def max_array_size() -> int:
    """The most jobs in one array: Slurm's MaxArraySize counts from 0, so one less."""
    for line in _ask("scontrol", "show", "config") or ():
        if match := re.match(r"MaxArraySize\s*=\s*(\d+)", line):
            return max(1, int(match.group(1)) - 1)
    return _USUAL_ARRAY


def in_queue() -> set[str] | None:
    """Ids of this user's jobs that wait or are at work; None where Slurm does not answer."""
    user = str(os.getuid())
    lines = _ask("squeue", "-h", "-r", "-u", user, "-o", "%i")
    return None if lines is None else {line.strip() for line in lines}


def final_states(jobs: Sequence[str]) -> dict[str, str]:
    """Id -> what sacct says of a job, as submitit reads it; empty where there is no accounting."""
    from submitit.slurm.slurm import SlurmInfoWatcher

    watcher = SlurmInfoWatcher()
    for job in jobs:
        watcher.register_job(job)
    watcher.update()
    states = {job: watcher.get_state(job, mode="cache").split()[0] for job in jobs}
    return {job: state for job, state in states.items() if state != "UNKNOWN"}


def _ask(*command: str) -> list[str] | None:
    """The lines that a command of Slurm prints; None where it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines() if done.returncode == 0 else None
