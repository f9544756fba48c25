"""Environment variables that our commands read. Needs no torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from dassl.errors import UserError

STORE_DTYPE = "CERVICLIP_STORE_DTYPE"
JOB, JOB_LOG = "CERVICLIP_JOB", "CERVICLIP_JOB_LOG"  # set in the jobs of a sweep
USUAL_STORE_DTYPE = "float16"


def store_dtype() -> str:
    """The number format that features are stored in now; an empty variable counts as none."""
    return os.environ.get(STORE_DTYPE) or USUAL_STORE_DTYPE


def cache_folder() -> Path:
    """``$CERVICLIP_CACHE``, or ``~/.cache/cerviclip``: features, ROIs and hashes of files."""
    return Path(os.environ.get("CERVICLIP_CACHE") or Path.home() / ".cache" / "cerviclip")


def job_record() -> dict[str, str]:
    """The job that this process is: its scheduler's id, the machine, the file of what it prints.
    Empty outside a job."""
    env = os.environ
    number = env.get(JOB) or env.get("SLURM_JOB_ID", "")
    if not number:
        return {}
    record = {"job": number, "node": env.get("SLURMD_NODENAME") or platform.node()}
    return record | {"log": env[JOB_LOG]} if env.get(JOB_LOG) else record


def processes() -> int:
    """How many processes torchrun has started; 1 without it."""
    count = os.environ.get("WORLD_SIZE") or "1"
    return int(count) if count.isdigit() else 2  # who joins the others says what is wrong with it


def refuse_torchrun(instead: str) -> None:
    """Each process of torchrun would make all runs, and all would write to one folder.

    Args:
        instead: what to do.

    Raises:
        UserError: this is one of several processes.
    """
    if processes() > 1:
        raise UserError(
            f"torchrun has started {os.environ['WORLD_SIZE']} processes and a sweep uses one; "
            f"{instead}"
        )
