"""One run as a piece of a sweep's work: what it needs, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cerviclip.adopt import stand_in
from cerviclip.adopt.launch import Job as ChildJob
from cerviclip.adopt.launch import ask_child
from cerviclip.adopt.spec import is_adopted
from cerviclip.runs.settings.plan import RunSpec


@dataclass
class Job:
    """What a worker needs to make one run."""

    number: int
    spec: RunSpec
    output_root: str
    fresh: bool = False
    cfg: Any = None  # set up already; another process sets it up anew


@dataclass
class Outcome:
    """A finished job; ``error`` is None or one line, ``trace`` the traceback."""

    job: Job
    error: str | None
    trace: str = ""


def do_job(job: Job) -> Outcome:
    """Make one run in this process; only Ctrl-C gets out."""
    import traceback

    if is_adopted(job.spec.trainer):
        return _do_adopted(job)
    from cerviclip.runs.run.runner import run_one
    from cerviclip.runs.settings.configure import setup_cfg

    try:
        cfg = job.cfg or setup_cfg(job.spec.request(job.output_root))
        run_one(cfg, variant=job.spec.variant, fresh=job.fresh, echo=False, keep_user_errors=True)
    except Exception as error:
        text = " ".join(str(error).split())
        return Outcome(job, f"{type(error).__name__}: {text}", traceback.format_exc())
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
        )
    )
    return Outcome(job, answer.error or None, answer.trace)
