"""``run_shell.py`` as a user types it, in processes of its own: kill, Ctrl-C, table in seconds."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_fixtures import zoo

from cerviclip.runs.settings.folders import find_results

__all__ = ["zoo"]
TEXT = "trainers: [ZooLinear, ZooSleeper]\nshots: [1, 2]\nseeds: [1]\n"


def start(zoo, repo_dir, *flags, text=TEXT, on_interrupt=signal.default_int_handler):
    env = os.environ | {"PYTHONPATH": f"{repo_dir}:{repo_dir / 'tests'}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(repo_dir / "run_shell.py"), *zoo.sweep(text, *flags)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=zoo.root, env=env,
        preexec_fn=lambda: _handle(on_interrupt),
    )  # fmt: skip


def _handle(on_interrupt):
    """A shell that starts the tests in the background has them, and theirs, ignore Ctrl-C; nohup a
    closed terminal."""
    signal.signal(signal.SIGINT, on_interrupt)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_for_sleeper(zoo, process):
    """Until the two quick runs are done and the sleeping one has begun."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if list(zoo.out.glob("ZooMain/ZooSleeper/*/*/*/*/asleep")):
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    pytest.fail("the sweep never came to the sleeping run")


@pytest.mark.slow  # tests/recovery kills sweeps at single moments in seconds
@pytest.mark.parametrize(
    "sent, status",
    [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_stopped_sweep_loses_the_run_in_progress_only(zoo, repo_dir, monkeypatch, sent, status):
    process = start(zoo, repo_dir)
    wait_for_sleeper(zoo, process)
    process.send_signal(sent)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == status
    if sent != signal.SIGKILL:
        by = "" if sent == signal.SIGINT else f" by {sent.name}"
        assert (
            f"interrupted{by}: 2 of 4 runs are finished and stay; the same command cont" in printed
        )
    results = [json.loads(p.read_text()) for p in find_results(zoo.out)]
    assert [(r["trainer"], r["status"]) for r in results] == [("ZooLinear", "done")] * 2
    made = {p: p.stat().st_mtime_ns for p in find_results(zoo.out)}
    monkeypatch.setenv("ZOO_AWAKE", "1")
    again = start(zoo, repo_dir)
    printed = again.communicate(timeout=120)[0]
    assert again.returncode == 0, printed
    assert "2 finished before" in printed
    assert len(list(find_results(zoo.out))) == 4
    assert all(p.stat().st_mtime_ns == then for p, then in made.items())


@pytest.mark.slow
def test_the_second_call_prints_the_table_without_torch(zoo, repo_dir, monkeypatch):
    text = "trainers: [ZooConstant]\nshots: [1]\nseeds: [1]\n"
    first = start(zoo, repo_dir, text=text)
    printed = first.communicate(timeout=120)[0]
    assert first.returncode == 0, printed
    code = (
        "import sys, run_shell\nfrom dassl.errors import cli_main\n"
        "status = cli_main(run_shell.main, sys.argv[1:])\n"
        "print('TORCH' if 'torch' in sys.modules else 'LIGHT', status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *zoo.sweep(text)], capture_output=True, text=True,
        cwd=repo_dir, check=True,
    )  # fmt: skip
    assert "ZooConstant" in done.stdout and "33.3" in done.stdout
    assert done.stdout.split()[-2:] == ["LIGHT", "0"]


def test_help_needs_no_torch(repo_dir):
    code = (
        "import sys, run_shell\n"
        "try: run_shell.main(['--help'])\n"
        "except SystemExit: print('TORCH' if 'torch' in sys.modules else 'LIGHT')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=repo_dir, check=True
    )
    assert done.stdout.split()[-1] == "LIGHT"
    for (
        flag
    ) in "sweep trainers shots seeds datasets backbone output-dir jobs dry-run fresh".split():
        assert f"--{flag}" in done.stdout


def children_of(pid):
    """Process numbers below one, at any depth (Linux)."""
    found, left = set(), [pid]
    while left:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{left.pop()}/task").iterdir():
                own = set(map(int, (task / "children").read_text().split()))
                left += own - found
                found |= own
    return found


def alive(pid):
    with contextlib.suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_sweep_in_a_scripts_background_ends_whole_by_kill(zoo, repo_dir, sent):
    """There Ctrl-C's signal is ignored from the start, for its worker processes too."""
    text = "trainers: [ZooSleeper]\nshots: [1, 2]\nseeds: [1]\n"
    process = start(zoo, repo_dir, "--jobs", "2", text=text, on_interrupt=signal.SIG_IGN)
    wait_for_sleeper(zoo, process)
    children = children_of(process.pid)
    assert len(children) >= 2
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(sent)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + sent, printed
    assert f"interrupted by {sent.name}: 0 of 2 runs are finished and stay; the same" in printed
    assert "Traceback" not in printed
    deadline = time.monotonic() + 10
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list(filter(alive, children))
    assert not list(zoo.out.rglob("*.tmp"))
