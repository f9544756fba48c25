"""A sweep's runs in several processes, one GPU each where there are GPUs."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from cerviclip.runs.jobs.job import Job, Outcome, Retries, do_job

Started = Callable[[Job], None]


class LocalPool:
    """An executor of worker processes on this machine; a sweep survives the death of any of them.

    Args:
        processes: how many.
        retries: whether a failed run is tried again, after the others; none is by default.
    """

    def __init__(self, processes: int, retries: Retries | None = None) -> None:
        self.processes = processes
        self.retries = retries or Retries()

    def run(self, jobs: Sequence[Job], started: Started) -> Iterator[Outcome]:
        return _Workers(self.processes, started, self.retries).work(jobs)


class _Workers:
    """The processes that make one list of jobs."""

    def __init__(self, processes: int, started: Started, retries: Retries) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.processes, self.started, self.retries = processes, started, retries
        self.devices = device_names()
        self.busy: dict[Connection, tuple[Any, Job, int]] = {}

    def work(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        waiting = list(jobs)[::-1]
        try:
            for slot in range(self.processes):
                self._start_worker(slot, waiting)
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

    def _start_worker(self, slot: int, waiting: list[Job]) -> None:
        if not waiting:
            return
        ours, theirs = self.context.Pipe()
        env = environment_of_slot(slot, self.processes, self.devices)
        # daemon would forbid loader workers
        process = self.context.Process(target=_serve, args=(theirs, env), daemon=False)
        # Libraries read them as the child starts, before our code runs in it.
        with variables_set(env):
            process.start()
        theirs.close()
        self._next_job(ours, process, slot, waiting)

    def _next_job(
        self, connection: Connection, process: Any, slot: int, waiting: list[Job]
    ) -> None:
        job = waiting.pop() if waiting else None
        try:
            connection.send(None if job is None else replace(job, cfg=None))
        except OSError:  # it was killed after it had told of its last run
            if job is not None:
                waiting.append(job)
            self.busy.pop(connection, None)
            process.join()
            connection.close()
            self._start_worker(slot, waiting)
            return
        if job is None:
            self.busy.pop(connection, None)
            process.join()
            connection.close()
            return
        self.busy[connection] = (process, job, slot)
        self.started(job)

    def _receive(self, connection: Connection, waiting: list[Job]) -> Outcome | None:
        """What a worker says of its run; None of a failed run that is tried again."""
        process, job, slot = self.busy[connection]
        try:
            outcome, alive = replace(connection.recv(), job=job), True
        except (EOFError, OSError):  # killed, by the kernel's memory guard for one
            process.join()
            del self.busy[connection]
            code = process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
            outcome, alive = Outcome(job, _death(how)), False
        again = self.retries.again(outcome)
        if again:
            waiting.insert(0, job)  # they are taken from the end
        if alive:
            self._next_job(connection, process, slot, waiting)
        else:
            self._start_worker(slot, waiting)
        return None if again else outcome


def _death(how: str) -> str:
    why = ", as the system does when memory runs out" if how == "signal 9" else ""
    return (
        f"the worker process died ({how}{why}); the same command goes on from the "
        "run's last checkpoint; fewer --jobs need less memory"
    )


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


def device_names() -> list[str]:
    """CUDA devices that may be used, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def environment_of_slot(slot: int, processes: int, devices: Sequence[str]) -> dict[str, str]:
    """One GPU per process, or this process's share of the CPU's threads."""
    if devices:
        return {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]}
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}


class variables_set:
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
