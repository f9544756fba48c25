"""The cluster executor: what it submits, follows, tries again and takes up, on jobs made here by
submitit in this process."""

import csv
import json
import os
import signal
from pathlib import Path

import pytest
from cluster_fixtures import InlineJobs, executor_on, jobs_of
from run_fixtures import all_results

from cerviclip.runs.cluster import pack as pack_module
from cerviclip.runs.cluster.jobs_table import write_jobs_table
from cerviclip.runs.cluster.journal import Event
from cerviclip.runs.cluster.submissions import Submission, read_submissions
from cerviclip.runs.jobs.executors import InProcess
from cerviclip.runs.jobs.job import Outcome
from cerviclip.runs.run.process.stop import Stopped
from dassl.errors import UserError

TEXT = "trainers: [ZooLinear, ZooQuick]\nshots: [1, 2]\nseeds: [1]\n"


@pytest.fixture(autouse=True)
def _environment():
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def made_of(executor, jobs):
    started = []
    outcomes = list(executor.run(jobs, lambda job: started.append(job.number)))
    return {outcome.job.number: outcome.error for outcome in outcomes}, started


def names(submitted):
    return [[Path(folder).parent.name for folder in job] for job in submitted]


def test_runs_of_jobs_have_the_numbers_of_runs_in_this_process(zoo, monkeypatch, tmp_path):
    jobs = jobs_of(zoo, TEXT)
    list(InProcess().run(jobs, lambda job: None))
    whole = all_results(zoo.out)
    zoo.out.rename(tmp_path / "here")
    place = InlineJobs()
    outcomes, started = made_of(executor_on(place, zoo.out, monkeypatch), jobs)
    assert outcomes == dict.fromkeys(range(4)) and sorted(started) == [0, 1, 2, 3]
    assert all_results(zoo.out) == whole
    assert sorted(map(len, place.submitted)) == [1, 1, 2]  # the two of seconds share a job
    assert all(submission.over for submission in read_submissions(zoo.out))


@pytest.fixture
def quick_runs(monkeypatch):
    """Runs that only note that they were made; returns folder names -> error to raise, in turn."""
    errors: dict[str, list] = {}

    def do_job(job):
        name = Path(job.folder).parent.name
        error = errors[name].pop(0) if errors.get(name) else None
        if callable(error):
            error = error()
        return Outcome(job, error, "", final=bool(error) and error.startswith("UserError"))

    monkeypatch.setattr(pack_module, "do_job", do_job)
    return errors


LINEAR = "trainers: [ZooLinear]\nshots: [1, 2]\nseeds: [1]\n"


def test_a_failing_run_is_tried_so_often_again_then_named(zoo, monkeypatch, quick_runs):
    quick_runs["shots_1"] = ["RuntimeError: fire"] * 9
    quick_runs["shots_2"] = ["RuntimeError: smoke"]
    place = InlineJobs()
    executor = executor_on(place, zoo.out, monkeypatch, retries=2)
    outcomes, started = made_of(executor, jobs_of(zoo, LINEAR))
    assert outcomes == {0: "RuntimeError: fire", 1: None}
    assert started.count(0) == 3 and started.count(1) == 2
    assert [line.split("; ")[-1] for line in executor.said] == [
        "try 2 of 3", "try 2 of 3", "try 3 of 3",
    ]  # fmt: skip


def test_what_is_wrong_with_the_settings_is_not_tried_again(zoo, monkeypatch, quick_runs):
    quick_runs["shots_1"] = ["UserError: no such class"] * 9
    executor = executor_on(InlineJobs(), zoo.out, monkeypatch, retries=5)
    outcomes, started = made_of(executor, jobs_of(zoo, LINEAR))
    assert outcomes[0] == "UserError: no such class" and started.count(0) == 1


@pytest.mark.parametrize("state", ["NODE_FAIL", "PREEMPTED", "TIMEOUT", "ENDED"])
def test_jobs_that_were_taken_away_are_submitted_again(zoo, monkeypatch, quick_runs, state):
    place = InlineJobs(states=[state])
    executor = executor_on(place, zoo.out, monkeypatch)
    outcomes, started = made_of(executor, jobs_of(zoo, LINEAR))
    assert outcomes == {0: None, 1: None} and sorted(started) == [0, 1]
    assert names(place.submitted) == [["shots_1"], ["shots_2"], ["shots_1"]]
    assert "its run goes on in a new one" in executor.said[0] and state in executor.said[0]


def test_time_limits_without_progress_end_in_an_error(zoo, monkeypatch, quick_runs):
    place = InlineJobs(states=["TIMEOUT", "", "TIMEOUT", "TIMEOUT"])
    executor = executor_on(place, zoo.out, monkeypatch, minutes=5, launcher="slurm")
    outcomes, _ = made_of(executor, jobs_of(zoo, LINEAR))
    assert outcomes[1] is None
    assert "time of 5 minutes ended 3 times without a new checkpoint" in outcomes[0]


def test_a_job_that_its_owner_cancels_stays_so(zoo, monkeypatch, quick_runs):
    place = InlineJobs(states=["CANCELLED by 1000"])
    executor = executor_on(place, zoo.out, monkeypatch, retries=3)
    outcomes, _ = made_of(executor, jobs_of(zoo, LINEAR))
    assert outcomes[0] == "RuntimeError: its job 0 was cancelled"
    assert len(place.submitted) == 2


def test_a_job_that_dies_costs_a_try_of_its_run_alone(zoo, monkeypatch, quick_runs):
    """As when memory runs out: the journal ends with the run that was at work."""
    text = "trainers: [ZooQuick]\nshots: [1, 2, 4]\nseeds: [1]\n"
    quick_runs["shots_2"] = [lambda: (_ for _ in ()).throw(SystemExit(1))] * 2
    place = InlineJobs()
    executor = executor_on(place, zoo.out, monkeypatch, retries=1)
    outcomes, _ = made_of(executor, jobs_of(zoo, text))
    assert outcomes[0] is None and outcomes[2] is None
    assert "died (FAILED; log: " in outcomes[1]
    assert names(place.submitted) == [
        ["shots_1", "shots_2", "shots_4"], ["shots_2"], ["shots_4"],
    ]  # fmt: skip


def test_a_job_that_begins_nothing_twice_fails_its_runs(zoo, monkeypatch, quick_runs):
    place = InlineJobs(states=["FAILED", "", "FAILED"])
    outcomes, _ = made_of(executor_on(place, zoo.out, monkeypatch), jobs_of(zoo, LINEAR))
    assert outcomes[1] is None and "ended before it began a run (FAILED" in outcomes[0]


def test_a_stopped_job_goes_on_in_a_new_one(zoo, monkeypatch, quick_runs):
    def told():
        os.kill(os.getpid(), signal.SIGUSR2)
        raise Stopped

    quick_runs["shots_1"] = [told]
    place = InlineJobs()
    executor = executor_on(place, zoo.out, monkeypatch)
    assert made_of(executor, jobs_of(zoo, LINEAR))[0] == {0: None, 1: None}
    assert names(place.submitted) == [["shots_1"], ["shots_2"], ["shots_1"]]


def test_a_command_that_is_stopped_leaves_its_jobs_to_the_next_one(zoo, monkeypatch, quick_runs):
    jobs = jobs_of(zoo, LINEAR)
    first = InlineJobs()
    executor = executor_on(first, zoo.out, monkeypatch)
    running = executor.run(jobs, lambda job: None)
    assert next(running).job.number == 0
    running.close()  # as Ctrl-C does
    assert len(first.left) == 1 and executor.said == ["1 left"]

    second = InlineJobs()
    second.at_work = first.at_work  # the scheduler's, not the command's
    executor = executor_on(second, zoo.out, monkeypatch)
    outcomes, _ = made_of(executor, jobs[1:])
    assert outcomes == {1: None} and second.submitted == []
    assert executor.said == ["1 run is in jobs of an earlier command"]


def test_a_submission_whose_ids_were_never_noted_is_looked_for_by_name(
    zoo, monkeypatch, quick_runs
):
    jobs = jobs_of(zoo, LINEAR)
    lost = Submission.new(zoo.out, "local", [[jobs[0].folder]])
    lost.write()
    place, asked = InlineJobs(), []
    place.find = lambda submission: asked.append(submission.name) or []
    outcomes, _ = made_of(executor_on(place, zoo.out, monkeypatch), jobs)
    assert asked == [lost.name] and outcomes == {0: None, 1: None}
    assert len(place.submitted) == 2 and all(s.over for s in read_submissions(zoo.out))


def test_refused_jobs_wait_for_the_others_and_alone_end_the_sweep(zoo, monkeypatch, quick_runs):
    place = InlineJobs()
    own, refusals = place.submit, [None, UserError("sbatch refuses: QOSMaxSubmitJobPerUserLimit")]

    def submit(packs, submission):
        if refusals and (error := refusals.pop(0)):
            raise error
        return own(packs, submission)

    place.submit, place.room = submit, lambda at_work, waiting: min(1, waiting)
    executor = executor_on(place, zoo.out, monkeypatch)
    assert made_of(executor, jobs_of(zoo, LINEAR))[0] == {0: None, 1: None}
    assert "1 jobs wait until some of the others have ended" in executor.said[0]
    refusals[:] = [UserError("sbatch refuses: no such partition")]
    with pytest.raises(UserError, match="no such partition"):
        made_of(executor, jobs_of(zoo, LINEAR))


def test_without_waiting_the_runs_are_submitted_and_nothing_else(zoo, monkeypatch, quick_runs):
    place = InlineJobs()
    executor = executor_on(place, zoo.out, monkeypatch)
    executor.wait = False
    assert made_of(executor, jobs_of(zoo, LINEAR)) == ({}, [])
    assert len(place.submitted) == 2 and executor.said == ["2 left"]


def test_the_table_of_jobs_leads_to_the_logs(zoo, tmp_path):
    root = tmp_path / "out"
    submission = Submission.new(root, "slurm", [[str(root / "a"), str(root / "b")]])
    submission.write()
    journal = submission.journal(0)
    journal.job = {"job": "12_0", "node": "n7", "log": str(submission.folder / "12_0_0_log.out")}
    for event in (
        Event("started", str(root / "a")), Event("stopped", str(root / "a")),
        Event("started", str(root / "a")), Event("ended", str(root / "a")),
        Event("started", str(root / "b")), Event("ended", str(root / "b"), "RuntimeError: x"),
    ):  # fmt: skip
        journal.write(event)
    rows = list(csv.DictReader(write_jobs_table(root).read_text().splitlines()))
    log = f".sweeps/jobs/{submission.folder.name}/12_0_0_log.out"
    assert [tuple(row.values()) for row in rows] == [
        ("a", "done", "2", "12_0", "n7", log, ""),
        ("b", "failed", "1", "12_0", "n7", log, "RuntimeError: x"),
    ]
    assert write_jobs_table(tmp_path / "empty") is None
    assert json.loads((submission.folder / "submission.json").read_text())["packs"]
