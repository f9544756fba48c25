"""One run as a piece of a sweep's work: what it needs, and how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cerviclip.adopt import stand_in
from cerviclip.adopt.launch import Job as ChildJob
from cerviclip.adopt.launch import ask_child
from cerviclip.adopt.spec import is_adopted
from cerviclip.locks import AtWorkError
from cerviclip.runs.run.process.outside import describe, disk_cause
from cerviclip.runs.settings.plan import RunSpec
from dassl.errors import UserError


@dataclass
class Job:
    """What a worker needs to make one run."""

    number: int
    spec: RunSpec
    output_root: str
    fresh: bool = False
    cfg: Any = None  # set up already; another process sets it up anew
    folder: str = ""  # the run's
    wait: bool = False  # for another sweep that is at work on the run


@dataclass
class Outcome:
    """What came of a job.

    Attributes:
        job: that was to be done.
        error: None or one line.
        trace: the traceback.
        final: it would fail again, however often it were tried.
        at_work: another sweep is at work on the run, so it was left alone.
        disk: the error is of a disk that nothing more can be written to.
    """

    job: Job
    error: str | None
    trace: str = ""
    final: bool = False
    at_work: bool = False
    disk: bool = False


def _ignore(line: str) -> None:
    """For executors that nobody listens to."""


class Retries:
    """Counts how often each run has failed, and says whether it is tried again.

    Args:
        times: how many times more a failed run is tried.
        say: is called with a line for each run that is tried again.
    """

    def __init__(self, times: int = 0, say: Callable[[str], None] = _ignore) -> None:
        self.times, self.say = times, say
        self.failed: Counter[int] = Counter()

    def again(self, outcome: Outcome) -> bool:
        """Whether to try the run of this outcome once more. What is wrong with the settings, the
        data or the disk is wrong the next time too."""
        if outcome.error is None:
            return False
        number = outcome.job.number
        self.failed[number] += 1
        if outcome.final or outcome.disk or self.failed[number] > self.times:
            return False
        count = f"try {self.failed[number] + 1} of {self.times + 1}"
        self.say(f"{outcome.job.spec.title}: {outcome.error}; {count}")
        return True


def do_job(job: Job) -> Outcome:
    """Make one run in this process; only Ctrl-C gets out."""
    import traceback

    if is_adopted(job.spec.trainer):
        return _do_adopted(job)
    from cerviclip.runs.run.runner import run_one
    from cerviclip.runs.settings.configure import setup_cfg

    cfg = None
    try:
        cfg = job.cfg or setup_cfg(job.spec.request(job.output_root))
        run_one(
            cfg,
            variant=job.spec.variant,
            fresh=job.fresh,
            echo=False,
            keep_user_errors=True,
            wait=job.wait,
        )
    except AtWorkError:
        return Outcome(job, None, at_work=True)
    except Exception as error:
        place = str(getattr(cfg, "OUTPUT_DIR", ""))
        final, disk = isinstance(error, UserError), bool(disk_cause(error, place))
        return Outcome(job, describe(error, place), traceback.format_exc(), final, disk=disk)
    return Outcome(job, None)


def _do_adopted(job: Job) -> Outcome:
    """Have the run made in a process of its own, which waits for nobody but this one."""
    from cerviclip.plugins import discover

    plugin = discover()["trainer"][job.spec.trainer].plugin
    answer = ask_child(
        ChildJob(
            "run",
            plugin,
            request=job.spec.request(job.output_root),
            descriptions=stand_in.descriptions(),
            fresh=job.fresh,
            keep_user_errors=True,
            wait=job.wait,
        )
    )
    if answer.at_work:
        return Outcome(job, None, at_work=True)
    return Outcome(job, answer.error or None, answer.trace)
