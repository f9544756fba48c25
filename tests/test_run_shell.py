"""``run_shell.py`` as a user types it, in processes of its own: kill, Ctrl-C, table in seconds."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from run_fixtures import zoo

from cerviclip.runs.settings.folders import find_results

__all__ = ["zoo"]
TEXT = "trainers: [ZooLinear, ZooSleeper]\nshots: [1, 2]\nseeds: [1]\n"


def start(zoo, repo_dir, *flags, text=TEXT):
    env = os.environ | {"PYTHONPATH": f"{repo_dir}:{repo_dir / 'tests'}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(repo_dir / "run_shell.py"), *zoo.sweep(text, *flags)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=zoo.root, env=env,
        # A shell that starts the tests in the background has them, and theirs, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


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
@pytest.mark.parametrize("sent, status", [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_stopped_sweep_loses_the_run_in_progress_only(zoo, repo_dir, monkeypatch, sent, status):
    process = start(zoo, repo_dir)
    wait_for_sleeper(zoo, process)
    process.send_signal(sent)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == status
    if sent == signal.SIGINT:
        assert "interrupted: 2 of 4 runs are finished and stay; the same command cont" in printed
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
