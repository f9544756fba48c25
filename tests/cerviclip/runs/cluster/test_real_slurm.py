"""Sweeps on a real Slurm, which these tests start: arrays, signals, limits, preemption, Ctrl-C.

Runs are disturbed where they wait at a gate (`plugin_zoo.ZooGated`), and must end with the numbers
of the same runs that nobody disturbed.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from run_fixtures import Zoo, all_results
from slurm_cluster import CPUS, SlurmCluster, why_not

import run_shell
from cerviclip import plugins
from cerviclip.runs.cluster.slurm import SlurmJobs
from cerviclip.runs.cluster.submissions import last_jobs, read_submissions
from dassl.errors import cli_main

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(why_not()), reason=why_not() or "there")]
REPO = Path(run_shell.__file__).parent
GATED = "{trainer: ZooGated, opts: {OPTIM.MAX_EPOCH: 6}}"
# A shell lets what it starts in the background ignore Ctrl-C, and all that this starts in turn.
EARLY = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "import cerviclip.runs.cluster.slurm as s; s.SlurmJobs.states_s = 5; import run_shell, sys"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o700)
    made = SlurmCluster(folder)
    before = dict(os.environ)
    try:
        made.start()
        path = os.pathsep.join([str(REPO), str(REPO / "tests")])
        os.environ.update(made.environment | {"PYTHONPATH": path})
        yield made
    finally:
        made.stop()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    plugins.reset_plugins()
    # Not less: a job that queues itself again is in no queue for some seconds, and must be missed
    # at two looks before it counts as over.
    monkeypatch.setattr(SlurmJobs, "states_s", 5.0)
    monkeypatch.setattr(SlurmJobs, "poll_s", 0.3)


class Site:
    """One sweep's data and runs, its gates, and the same sweep undisturbed."""

    def __init__(self, folder: Path, text: str) -> None:
        self.zoo, self.text = Zoo(folder), text
        self.gates = folder / "gates"

    def close(self, *names: str) -> None:
        self.gates.mkdir(exist_ok=True)
        for name in names:
            (self.gates / f"closed-{name}").touch()

    def open(self, name: str) -> None:
        (self.gates / f"closed-{name}").unlink()

    def reached(self, name: str, after: str = "", signals: tuple[str, ...] = ()) -> str:
        """Wait until a process stands at a gate and has been sent these signals; its number.

        Args:
            after: not the process of this number.
        """

        def there() -> bool:
            said = self.gates / f"at-{name}"
            process, _, sent = said.read_text().partition(": ") if said.exists() else ("", "", "")
            found.append(process)
            return process not in ("", after) and tuple(sent.split())[: len(signals)] == signals

        found: list[str] = []
        until(there, f"a run at {name}, sent {signals}", 600)
        return found[-1]

    def flags(self, *flags: str) -> list[str]:
        return self.zoo.sweep(self.text, "--launcher", "slurm", "--cpus", "1", *flags)

    def sweep(self, *flags: str) -> int:
        return cli_main(run_shell.main, self.flags(*flags))

    def command(self, *flags: str) -> subprocess.Popen:
        """The same in a process of its own."""
        code = f"{EARLY}; from dassl.errors import cli_main; sys.exit(cli_main(run_shell.main))"
        return subprocess.Popen(
            [sys.executable, "-c", code, *self.flags(*flags)],
            cwd=self.zoo.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def undisturbed(self) -> dict[str, dict]:
        """The numbers of the sweep made in this process, in another folder."""
        gates = self.gates.rename(self.gates.with_name("kept")) if self.gates.exists() else None
        other = Zoo(self.zoo.root)
        words = other.sweep(self.text)
        words[words.index(str(other.out))] = str(self.zoo.root / "undisturbed")
        cli_main(run_shell.main, words)
        if gates is not None:
            gates.rename(self.gates)
        return all_results(self.zoo.root / "undisturbed")

    def job(self, seed: int) -> str:
        """The id of the job that made a seed's run last."""
        jobs = last_jobs(self.zoo.out)
        return next(last.event.job for f, last in jobs.items() if f.endswith(f"seed_{seed}"))

    def starts(self) -> dict[str, int]:
        jobs = last_jobs(self.zoo.out)
        return {Path(folder).name: last.starts for folder, last in jobs.items()}

    def logs(self, seed: int) -> str:
        folders = [p.parent for p in self.zoo.out.rglob("results.json")]
        (folder,) = (f for f in folders if f.name == f"seed_{seed}")
        return "".join(path.read_text() for path in sorted(folder.glob("log.txt*")))


def until(there, what: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)


def meanwhile(action):
    """Run an action beside the test; its failure shows when it is joined."""
    failed = []

    def run():
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join():
        thread.join(timeout=900)
        assert not thread.is_alive(), "the action has not ended"
        if failed:
            raise failed[0]

    return join


@pytest.fixture(scope="module")
def limits(cluster, tmp_path_factory):
    """A sweep whose jobs may take two minutes, begun before the other tests as it takes several.
    Seed 1 is let on after Slurm's signal, seed 2 when Slurm has killed its job."""
    text = f"trainers: [{GATED}]\nshots: [1]\nseeds: [1, 2]\n"
    site = Site(tmp_path_factory.mktemp("limits"), text)
    site.close("1-3", "2-3")
    process = site.command("--time", "2")

    def act():
        site.reached("1-3")
        site.reached("2-3")
        first = site.job(2)
        site.reached("1-3", signals=("SIGUSR2",))
        site.open("1-3")
        state = ("sacct", "-nXP", "-o", "State", "-j", first)
        until(lambda: "TIMEOUT" in (cluster.ask(*state) or ""), "a job killed at its limit", 600)
        # It is called so before its processes are killed, and would queue again if let on.
        until(lambda: not cluster.ask("squeue", "-h", "-j", first), "the end of its processes", 60)
        site.open("2-3")

    join = meanwhile(act)
    yield site, process, join
    process.kill()
    process.communicate()


def test_a_sweep_is_arrays_of_jobs_with_the_numbers_of_one_process(limits, tmp_path, capsys):
    text = "trainers: [ZooQuick, ZooLinear]\nshots: [1, 2, 4]\nseeds: [1, 2]\n"
    site = Site(tmp_path, text)
    assert site.sweep("--array-parallelism", "3") == 0
    printed = capsys.readouterr().out
    assert all_results(site.zoo.out) == site.undisturbed()
    for name in ("summary.csv", "summary.json", "results.md"):
        here, there = site.zoo.out / name, tmp_path / "undisturbed" / name
        assert here.read_bytes() == there.read_bytes()
    submissions = list(read_submissions(site.zoo.out))
    # MaxArraySize 6 allows five jobs in an array; the six runs of seconds are one job.
    assert [sorted(map(len, s.packs)) for s in submissions] == [[1, 1, 1, 1, 6], [1, 1]]
    script = next(submissions[0].folder.glob("*_submission.sh")).read_text()
    assert "--array=0-4%3" in script
    after = next(submissions[1].folder.glob("*_submission.sh")).read_text()
    assert f"--dependency=afterany:{submissions[0].jobs[0].partition('_')[0]}" in after
    rows = list(csv.DictReader((site.zoo.out / "jobs.csv").read_text().splitlines()))
    assert len(rows) == 12 and {row["state"] for row in rows} == {"done"}
    quick = {row["job"] for row in rows if "ZooQuick" in row["folder"]}
    assert len(quick) == 1  # one process made them all
    assert all((site.zoo.out / row["log"]).is_file() for row in rows)
    assert "jobs.csv" in printed
    count = len(submissions)
    assert site.sweep() == 0
    assert len(list(read_submissions(site.zoo.out))) == count  # nothing was lacking


def test_signals_and_requeues_go_on_from_the_checkpoint(limits, tmp_path):
    site = Site(tmp_path, f"trainers: [{GATED}]\nshots: [1]\nseeds: [1]\n")
    site.close("1-3", "1-5")

    def act():
        site.reached("1-3")
        for count in (1, 2):
            subprocess.run(["scancel", "--signal=USR1", site.job(1)], check=True)
            site.reached("1-3", signals=("SIGUSR1",) * count)
        site.open("1-3")
        second = site.reached("1-5")
        subprocess.run(["scontrol", "requeue", site.job(1)], check=True)
        site.reached("1-5", after=second)
        site.open("1-5")

    join = meanwhile(act)
    assert site.sweep() == 0
    join()
    assert all_results(site.zoo.out) == site.undisturbed()
    assert site.starts() == {"seed_1": 3}
    logs = site.logs(1)
    assert "Stopped after epoch 3 (SIGUSR1, SIGUSR1" in logs
    assert logs.count("Previous epoch: 3") == 2 and len(list(read_submissions(site.zoo.out))) == 1


def test_a_preempted_job_saves_and_comes_again(limits, tmp_path):
    site = Site(tmp_path, f"trainers: [{GATED}]\nshots: [1]\nseeds: [1]\n")
    site.close("1-2")

    def act():
        site.reached("1-2")
        words = ["sbatch", "-p", "high", "-n", str(CPUS), "-o", os.devnull, "--wrap", "true"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        site.reached("1-2", signals=("SIGTERM",))
        site.open("1-2")

    join = meanwhile(act)
    assert site.sweep("--partition", "low") == 0
    join()
    assert all_results(site.zoo.out) == site.undisturbed()
    assert site.starts() == {"seed_1": 2}
    assert "Stopped after epoch 2 (SIGTERM" in site.logs(1)
    assert len(list(read_submissions(site.zoo.out))) == 1  # Slurm had it again, not the command


def test_on_a_node_without_scontrol_the_command_submits_the_rest(limits, tmp_path, monkeypatch):
    site = Site(tmp_path, f"trainers: [{GATED}]\nshots: [1]\nseeds: [1]\n")
    site.close("1-2")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sbatch", "squeue", "sacct", "srun", "bash", "sh", "env", "uname", "git"):
        (programs / name).symlink_to(shutil.which(name))
    scancel = shutil.which("scancel")
    monkeypatch.setenv("PATH", str(programs))

    def act():
        site.reached("1-2")
        subprocess.run([scancel, "--signal=USR2", site.job(1)], check=True)
        site.reached("1-2", signals=("SIGUSR2",))
        site.open("1-2")

    join = meanwhile(act)
    assert site.sweep() == 0
    join()
    assert all_results(site.zoo.out) == site.undisturbed()
    assert site.starts() == {"seed_1": 2} and len(list(read_submissions(site.zoo.out))) == 2
    first = next(iter(read_submissions(site.zoo.out))).folder
    assert "cannot queue this job again" in next(first.glob("*_log.out")).read_text()


def test_ctrl_c_leaves_the_jobs_and_the_next_command_finds_them(limits, tmp_path, capsys):
    site = Site(tmp_path, f"trainers: [{GATED}]\nshots: [1]\nseeds: [1]\n")
    site.close("1-2")
    process = site.command()
    site.reached("1-2")
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "1 job goes on; the same command finds them" in said
    job = site.job(1)
    site.text = site.text.replace("seeds: [1]", "seeds: [1, 2]")

    def act():  # the next command looks for jobs before it submits others
        until(lambda: len(list(read_submissions(site.zoo.out))) == 2, "the next command's job")
        site.open("1-2")

    join = meanwhile(act)
    assert site.sweep() == 0
    join()
    assert "1 run is in jobs of an earlier command" in capsys.readouterr().out
    assert site.job(1) == job and site.starts() == {"seed_1": 1, "seed_2": 1}
    packs = [
        [Path(f).name for f in pack] for s in read_submissions(site.zoo.out) for pack in s.packs
    ]
    assert packs == [["seed_1"], ["seed_2"]]
    assert all_results(site.zoo.out) == site.undisturbed()


def test_a_failing_run_is_tried_again_then_named_with_its_log(limits, tmp_path, capsys):
    site = Site(tmp_path, "trainers: [ZooBroken, ZooFlaky]\nshots: [1]\nseeds: [1]\n")
    (tmp_path / "failures").write_text("x")
    assert site.sweep("--retries", "1") == 1
    printed = capsys.readouterr().out
    assert "the zoo is on fire; try 2 of 2" in printed
    assert "the node is out of order; try 2 of 2" in printed
    assert "1 of 2 runs failed" in printed
    report = (site.zoo.out / "results.md").read_text()
    assert report.count("the zoo is on fire (log of its job: ") == 1
    failed = next(site.zoo.out.rglob("ZooBroken/**/results.json"))
    log = json.loads(failed.read_text())["runtime"]["job"]["log"]
    assert Path(log).is_file() and log in printed
    (mended,) = (r for name, r in all_results(site.zoo.out).items() if "ZooFlaky" in name)
    assert mended["status"] == "done"
    assert sum(len(submission.jobs) for submission in read_submissions(site.zoo.out)) == 4


def test_jobs_at_their_limit_come_again(limits):
    site, process, join = limits
    said = process.communicate(timeout=900)[0]
    join()
    assert process.returncode == 0, said
    assert all_results(site.zoo.out) == site.undisturbed()
    assert "Stopped after epoch 3 (SIGUSR2" in site.logs(1)
    assert "ended early (TIMEOUT); its run goes on in a new one" in said
