"""A sweep's runs in several processes, one GPU each where there are GPUs."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any, cast

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

    from cerviclip.runs.run.runner import run_one
    from cerviclip.runs.settings.configure import setup_cfg

    try:
        cfg = job.cfg or setup_cfg(job.spec.request(job.output_root))
        run_one(cfg, variant=job.spec.variant, fresh=job.fresh, echo=False, keep_user_errors=True)
    except Exception as error:
        text = " ".join(str(error).split())
        return Outcome(job, f"{type(error).__name__}: {text}", traceback.format_exc())
    return Outcome(job, None)


def run_jobs(jobs: Sequence[Job], processes: int, started: Any = None) -> Iterator[Outcome]:
    """Yield the outcome of every job as it comes; in this process where ``processes`` is 1.

    Args:
        jobs: in the order to start them.
        processes: how many at a time.
        started: called with each job as it starts.
    """
    if processes <= 1 or len(jobs) <= 1:
        for job in jobs:
            if started is not None:
                started(job)
            yield do_job(job)
        return
    yield from _Pool(min(processes, len(jobs)), started).work(list(jobs))


class _Pool:
    """Worker processes that survive the death of any one of them."""

    def __init__(self, processes: int, started: Any) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.processes, self.started = processes, started
        self.devices = _device_names()
        self.busy: dict[Connection, tuple[Any, Job | None, int]] = {}

    def work(self, jobs: list[Job]) -> Iterator[Outcome]:
        waiting = jobs[::-1]
        try:
            for slot in range(self.processes):
                self._start(slot, waiting)
            while self.busy:
                for connection in wait(list(self.busy)):
                    outcome = self._receive(cast(Any, connection), waiting)
                    if outcome is not None:
                        yield outcome
        finally:
            for process, _, _ in self.busy.values():
                process.terminate()
            for process, _, _ in self.busy.values():
                process.join()

    def _start(self, slot: int, waiting: list[Job]) -> None:
        if not waiting:
            return
        ours, theirs = self.context.Pipe()
        env = _environment(slot, self.processes, self.devices)
        # daemon would forbid loader workers
        process = self.context.Process(target=_serve, args=(theirs, env), daemon=False)
        with _environ(env):  # read by libraries as the child starts, before our code runs in it
            process.start()
        theirs.close()
        self._give(ours, process, slot, waiting)

    def _give(self, connection: Connection, process: Any, slot: int, waiting: list[Job]) -> None:
        job = waiting.pop() if waiting else None
        connection.send(None if job is None else replace(job, cfg=None))
        if job is None:
            self.busy.pop(connection, None)
            process.join()
            connection.close()
            return
        self.busy[connection] = (process, job, slot)
        if self.started is not None:
            self.started(job)

    def _receive(self, connection: Connection, waiting: list[Job]) -> Outcome | None:
        process, job, slot = self.busy[connection]
        try:
            outcome = replace(connection.recv(), job=job)
        except (EOFError, OSError):  # killed, by the kernel's memory guard for one
            process.join()
            del self.busy[connection]
            code = process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
            self._start(slot, waiting)
            return Outcome(job, f"RuntimeError: the worker process died ({how})")
        self._give(connection, process, slot, waiting)
        return outcome


def _serve(connection: Connection, env: dict[str, str]) -> None:
    """A worker's life: jobs until None comes."""
    os.environ.update(env)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    while True:
        try:
            job = connection.recv()
        except EOFError:  # the parent is gone
            return
        if job is None:
            return
        connection.send(do_job(job))


def _device_names() -> list[str]:
    """CUDA devices that may be used, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def _environment(slot: int, processes: int, devices: Sequence[str]) -> dict[str, str]:
    """One GPU per process, or this process's share of the CPU's threads."""
    if devices:
        return {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]}
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}


class _environ:
    """Environment variables set for the length of a block."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def __enter__(self) -> None:
        self.before = {key: os.environ.get(key) for key in self.env}
        os.environ.update(self.env)

    def __exit__(self, *_: Any) -> None:
        for key, value in self.before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
