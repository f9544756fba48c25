"""Kills, full disks and read-only folders as they are: processes of their own and small mounts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from run_fixtures import Zoo

import run_shell
from cerviclip import plugins
from cerviclip.runs.settings.folders import find_results
from dassl.errors import cli_main

REPO = Path(__file__).resolve().parent.parent
TABLES = ("summary.csv", "summary.json", "results.md", "pooled.json")


@pytest.fixture
def lean_zoo(tmp_path, monkeypatch):
    """The zoo without what costs most of its time and writes no file: curves and their intervals.
    Processes that are forked from this one have none either."""
    from cerviclip.runs.run import runner

    monkeypatch.setattr(runner, "measure_run", lambda *_: {})
    monkeypatch.setattr(runner.gc, "collect", lambda: 0)
    plugins.reset_plugins()
    yield Zoo(tmp_path)
    plugins.reset_plugins()


def numbers(out: Path) -> dict[str, Any]:
    """All that two equal sweeps have in common to the last digit, by path below ``out``."""
    found: dict[str, Any] = {}
    for path in find_results(out):
        results = json.loads(path.read_text())
        results["runtime"] = results["runtime"].get("trainer")  # the rest may differ
        name = str(path.parent.relative_to(out))
        found[name] = results
        for table in path.parent.glob("*predictions*.csv"):
            found[f"{name}/{table.name}"] = table.read_bytes()
    found |= {name: (out / name).read_bytes() for name in TABLES if (out / name).is_file()}
    return found


def finished(out: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every finished run's results.json as it lies there: a run made again would differ in all."""
    found = {}
    for path in find_results(out) if out.is_dir() else ():
        data, stat = path.read_bytes(), path.stat()
        if json.loads(data)["status"] == "done":
            found[str(path.parent.relative_to(out))] = (stat.st_ino, stat.st_mtime_ns, data)
    return found


def leftovers(out: Path) -> list[str]:
    """What only a process at work may have in a sweep's folder."""
    marks = (".lock", ".tmp")
    return sorted(
        str(path.relative_to(out))
        for path in out.rglob(".*")
        if path.name != ".sweeps" and (path.suffix in marks or path.is_dir())
    )


def logs(folder: Path) -> int:
    """How often a run in this folder was begun."""
    return len(list(folder.glob("log.txt*")))


# -- processes ---------------------------------------------------------------------------------


class Life:
    """A forked process, in a group of its own, that does something and ends."""

    def __init__(self, work: Callable[[], int], log: Path | None = None) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid:
            return
        status = 70
        try:
            os.setsid()
            sink = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            # pytest's own stand-ins for the streams write to its files
            sys.stdout, sys.stderr = os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
            status = work()
            sys.stdout.flush()
        finally:
            os._exit(status)

    def kill(self) -> int:
        """SIGKILL to the whole group; returns the exit code, -9 where it was alive."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not made its group yet
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def sweep_life(argv: list[str], log: Path | None = None, die_at: int | None = None, **env) -> Life:
    """A sweep in a process of its own; ``die_at`` kills it instead of its n-th renaming."""

    def work() -> int:
        os.environ.update(env)
        if die_at is not None:
            _die_at_rename(die_at)
        return cli_main(run_shell.main, argv)

    return Life(work, log)


def _die_at_rename(number: int) -> None:
    rename, left = os.replace, iter(range(number))

    def dying(*args: Any, **kwargs: Any) -> None:
        if next(left, None) is None:
            os.killpg(0, signal.SIGKILL)
        rename(*args, **kwargs)

    os.replace = dying


def preload(argv: list[str]) -> None:
    """Do a sweep in this process, so that lives forked from it need not import anything, and
    forget what it has read and computed."""
    from cerviclip.data.files import hashes
    from cerviclip.data.images import cache as image_cache
    from cerviclip.features import source, store
    from cerviclip.vlm import clear_backbones

    assert cli_main(run_shell.main, argv) == 0
    source.clear_tables()
    store._stores.clear()
    hashes._caches.clear()
    image_cache.disable()
    clear_backbones()


def text_of(path: Path) -> str:
    """What a file holds, "" where it is not there yet."""
    return path.read_text() if path.is_file() else ""


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for something that another process does; a folder may vanish while it is looked at."""

    def holds() -> Any:
        try:
            return condition()
        except FileNotFoundError:
            return False

    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "it did not come"
        time.sleep(0.02)


def python(*argv: str, **env: str) -> subprocess.CompletedProcess:
    """A command as a user starts it."""
    return subprocess.run(
        [sys.executable, *argv],
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": f"{REPO}:{REPO / 'tests'}", **env},
        capture_output=True,
        text=True,
    )


# -- disks -------------------------------------------------------------------------------------


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own in ``folder``, in memory; skips where nobody may mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a small disk")
    made = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Mount a `disk` read-only while the block runs."""
    assert _mount("-o", "remount,ro", str(folder)).returncode == 0
    try:
        yield
    finally:
        assert _mount("-o", "remount,rw", str(folder)).returncode == 0


def _mount(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["mount", *words], capture_output=True, text=True)


@contextmanager
def filled(folder: Path, leave: int) -> Iterator[None]:
    """Fill a `disk` but for ``leave`` bytes while the block runs."""
    stat = os.statvfs(folder)
    filler = folder / ".filler"
    with open(filler, "wb") as file:
        file.write(b"\0" * max(0, stat.f_bavail * stat.f_frsize - leave))
    try:
        yield
    finally:
        filler.unlink()


def one_sentence(text: str, *words: str) -> None:
    """What a user reads of an error: one line that says these words."""
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    for word in words:
        assert word in lines[0], text
