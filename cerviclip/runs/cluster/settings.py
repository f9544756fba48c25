"""What is asked of the launcher, checked. Needs no torch."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec

from cerviclip.places import install_hint
from cerviclip.runs.settings.requests import SweepRequest
from dassl.errors import UserError

SLURM, LOCAL = "slurm", "local"
LAUNCHERS = (LOCAL, SLURM)
_OF_SLURM = ("partition", "time", "cpus", "gpus", "mem", "slurm")
_DEFAULT_MINUTES, _DEFAULT_CPUS, _DEFAULT_PACK, _DEFAULT_AT_ONCE = 240, 4, 20, 64


@dataclass(frozen=True)
class ClusterSettings:
    """How a sweep's jobs are started.

    Attributes:
        launcher: ``slurm`` or ``local``.
        at_once: jobs at work at a time.
        partition: Slurm's; "" for its default.
        minutes: time limit of a job; None: none.
        cpus: of a job.
        gpus: of a job.
        mem_gb: memory of a job in GB; None leaves it to the cluster.
        pack: the most cheap runs of one backbone in one job.
        retries: how many times a failed run is tried again.
        grace_s: a job is told so many seconds before its limit.
        extra: more options of sbatch.
    """

    launcher: str = LOCAL
    at_once: int = _DEFAULT_AT_ONCE
    partition: str = ""
    minutes: int | None = None
    cpus: int = _DEFAULT_CPUS
    gpus: int = 0
    mem_gb: float | None = None
    pack: int = _DEFAULT_PACK
    retries: int = 0
    grace_s: int = 120
    extra: tuple[tuple[str, str], ...] = ()


def cluster_settings(request: SweepRequest) -> ClusterSettings | None:
    """What a sweep's request says of its launcher; None where it has none.

    Raises:
        UserError: flags that cannot be together, a value that cannot be, or no submitit or Slurm.
    """
    _check_together(request)
    if not request.launcher:
        return None
    _check_installed(request.launcher)
    on_slurm = request.launcher == SLURM
    minutes = parse_minutes(request.time) if request.time else _DEFAULT_MINUTES
    return ClusterSettings(
        launcher=request.launcher,
        at_once=request.array_parallelism or (_DEFAULT_AT_ONCE if on_slurm else request.jobs),
        partition=request.partition,
        minutes=minutes if on_slurm else None,
        cpus=request.cpus or _DEFAULT_CPUS,
        gpus=request.gpus or 0,
        mem_gb=parse_gigabytes(request.mem) if request.mem else None,
        pack=request.pack or _DEFAULT_PACK,
        retries=request.retries,
        # A short job must not be told before it has begun.
        grace_s=min(120, minutes * 60 // 3) if on_slurm else 0,
        extra=tuple(_extra(text) for text in request.slurm),
    )


def _check_together(request: SweepRequest) -> None:
    if request.launcher not in ("", *LAUNCHERS):
        raise UserError(f"--launcher is {request.launcher!r}; it takes {' or '.join(LAUNCHERS)}")
    for name in ("array_parallelism", "pack", "cpus"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise UserError(f"{_flag(name)} is {value}; it takes a number from 1")
    for name in ("gpus", "retries"):
        if (getattr(request, name) or 0) < 0:
            raise UserError(f"{_flag(name)} is {getattr(request, name)}; it takes a number from 0")
    given = [name for name in _OF_SLURM if getattr(request, name) not in (None, "", ())]
    if given and request.launcher != SLURM:
        raise UserError(f"{_flag(given[0])} is for --launcher {SLURM}; give that too, or neither")
    if not request.wait and request.launcher != SLURM:
        raise UserError(f"--no-wait is for --launcher {SLURM}; give that too, or neither")
    given = [name for name in ("array_parallelism", "pack") if getattr(request, name) is not None]
    if given and not request.launcher:
        raise UserError(f"{_flag(given[0])} needs --launcher {SLURM} or {LOCAL}; --jobs N does not")
    if request.launcher == SLURM and request.jobs != 1:
        raise UserError(
            f"--jobs {request.jobs} and --launcher {SLURM}: the number of jobs at a time is "
            "--array-parallelism"
        )


def _check_installed(launcher: str) -> None:
    if find_spec("submitit") is None:
        raise UserError(f"--launcher needs submitit: {install_hint('cluster')}")
    if launcher == SLURM and shutil.which("sbatch") is None:
        raise UserError(
            f"--launcher {SLURM}: there is no sbatch here; start the sweep on a machine that "
            f"submits jobs, or take --launcher {LOCAL}"
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def parse_minutes(text: str) -> int:
    """Minutes of a time as Slurm writes it: ``90``, ``90:30``, ``4:00:00``, ``1-12``,
    ``1-12:30``, ``1-12:30:00``; seconds count as a whole minute."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if match is None:
        raise UserError(
            f"--time is {text!r}; it takes minutes, hours:minutes:seconds or days-hours, such as "
            "90, 4:00:00 or 1-12"
        )
    days, *parts = (None if part is None else int(part) for part in match.groups())
    given = [part for part in parts if part is not None]
    if days is not None:
        hours, minutes, seconds = (*given, 0, 0)[:3]
    elif len(given) == 3:
        hours, minutes, seconds = given
    else:
        hours, (minutes, seconds) = 0, (*given, 0)[:2]
    total = ((days or 0) * 24 + hours) * 60 + minutes + (seconds > 0)
    if total < 1:
        raise UserError(f"--time is {text!r}; a job needs a minute at least")
    return total


def parse_gigabytes(text: str) -> float:
    """``16``, ``16G``, ``16GB`` or ``800M`` in GB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([GM]?)B?", text.strip(), re.IGNORECASE)
    if match is None or float(match.group(1)) <= 0:
        raise UserError(f"--mem is {text!r}; it takes gigabytes, such as 16 or 16G, or 800M")
    size = float(match.group(1))
    return size / 1024 if match.group(2).upper() == "M" else size


def _extra(text: str) -> tuple[str, str]:
    key, equals, value = text.strip().lstrip("-").partition("=")
    if not key or not equals:
        raise UserError(f"--slurm is {text!r}; it takes options of sbatch as NAME=VALUE (qos=low)")
    return key, value
