"""A federation on one machine: a server and every centre, each a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cerviclip.federated.certificates import CA, make_certificates
from cerviclip.federated.plan import SERVER, Plan
from dassl.errors import UserError

POLL_S = 0.2
_ERROR = "error:"  # how a command begins what it refuses


def federate_here(plan: Plan, out: Path, insecure: bool = False) -> None:
    """A server and every centre, each a process of its own, over loopback.

    Raises:
        UserError: one of them failed; the others are ended.
    """
    address = f"127.0.0.1:{_free_port()}"
    logs = out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with _certificates(insecure) as (security, trust):
        _run_processes(plan, logs, _words(plan, out, address, security, trust))


@contextmanager
def _certificates(insecure: bool) -> Iterator[tuple[list[str], list[str]]]:
    """What the server and the centres are told of certificates, which last as long as they do: the
    server's key is no part of the results."""
    if insecure:
        yield ["--insecure"], ["--insecure"]
        return
    with tempfile.TemporaryDirectory(prefix="cerviclip-federation-") as name:
        folder = make_certificates(Path(name), ["127.0.0.1", "localhost"], days=1)
        yield ["--certificates", str(folder)], ["--ca", str(folder / CA)]


def _words(
    plan: Plan, out: Path, address: str, security: Sequence[str], trust: Sequence[str]
) -> dict[str, list[str]]:
    """The command line of the server and of each centre, by name."""
    common = [sys.executable, "-m", "cerviclip.federated.command", str(plan.path)]
    common += ["--output-dir", str(out)]
    if plan.weights:
        common += ["--weights", plan.weights]
    words = {SERVER: [*common, "--serve", address, *security]}
    for site in plan.centers:
        root = ["--root", site.root] if site.root else []
        words[site.name] = [*common, *root, "--join", address, "--center", site.name, *trust]
    return words


def _run_processes(plan: Plan, logs: Path, words: Mapping[str, Sequence[str]]) -> None:
    print(f"federated: {len(plan.centers)} centres, {plan.rounds} rounds; logs in {logs}")
    processes = {}
    for name, argv in words.items():
        with open(logs / f"{name}.txt", "w") as log:
            processes[name] = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for(processes, logs)
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def _wait_for(processes: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
    """Until all have ended well, or one has not."""
    while True:
        states = {name: process.poll() for name, process in processes.items()}
        for name, status in states.items():
            if status:
                raise UserError(f"{name} failed: {_last_line(logs / f'{name}.txt')}")
        if all(status == 0 for status in states.values()):
            return
        time.sleep(POLL_S)


def _last_line(log: Path) -> str:
    """What a process said last, its own error rather than Flower's notes."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line[len(_ERROR) :].strip() for line in lines if line.startswith(_ERROR)]
    return f"{(errors or lines or ['it said nothing'])[-1]} ({log})"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
