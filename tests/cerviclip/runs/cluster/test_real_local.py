"""``--launcher local``: real processes of submitit's local executor, on the way that Slurm's jobs
take."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from run_fixtures import all_results

import run_shell
from cerviclip.runs.cluster.submissions import last_jobs
from dassl.errors import cli_main

pytestmark = pytest.mark.slow
TEXT = (
    "trainers: [{trainer: ZooGated, opts: {OPTIM.MAX_EPOCH: 6}}, ZooQuick, ZooSuicidal]\n"
    "shots: [1]\nseeds: [1]\n"
)


def signal_the_job(zoo, name: str) -> None:
    """Tell the job that stands at a gate to stop, as a scheduler does, then open the gate."""
    gates = zoo.root / "gates"
    while not (gates / f"at-{name}").exists():
        time.sleep(0.1)
    jobs = last_jobs(zoo.out)
    controller = next(last.event.job for f, last in jobs.items() if "ZooGated" in f)
    (process,) = psutil.Process(int(controller)).children()
    process.send_signal(signal.SIGUSR2)
    time.sleep(0.5)
    (gates / f"closed-{name}").unlink()


# submitit lets go of a process that has told its end and has not quite ended.
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_local_jobs_are_those_of_one_process_also_when_they_are_stopped(
    zoo, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    assert cli_main(run_shell.main, zoo.sweep(TEXT.replace(", ZooSuicidal", ""))) == 0
    whole = all_results(zoo.out)
    zoo.out.rename(tmp_path / "undisturbed")
    (zoo.root / "gates").mkdir()
    (zoo.root / "gates" / "closed-1-3").touch()
    other = threading.Thread(target=signal_the_job, args=(zoo, "1-3"), daemon=True)
    other.start()
    flags = ["--launcher", "local", "--array-parallelism", "2", "--retries", "1"]
    assert cli_main(run_shell.main, zoo.sweep(TEXT, *flags)) == 1
    other.join(timeout=5)
    found = all_results(zoo.out)
    (dead,) = (name for name in found if "ZooSuicidal" in name)
    assert found.pop(dead)["status"] == "failed" and found == whole
    printed = capsys.readouterr().out
    assert "its job" in printed and "died (" in printed and "try 2 of 2" in printed
    starts = {Path(f).parts[-5]: last.starts for f, last in last_jobs(zoo.out).items()}
    assert starts == {"ZooGated": 2, "ZooQuick": 1, "ZooSuicidal": 2}
