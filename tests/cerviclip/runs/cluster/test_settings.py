"""Flags of the launcher: what they mean, and what cannot be together."""

import re

import pytest

from cerviclip.runs.cluster import settings as settings_module
from cerviclip.runs.cluster import slurm
from cerviclip.runs.cluster.settings import cluster_settings, parse_gigabytes, parse_minutes
from cerviclip.runs.settings.flags import sweep_parser, sweep_request
from dassl.errors import UserError


def settings_of(*flags):
    return cluster_settings(sweep_request(sweep_parser().parse_args(list(flags))))


@pytest.fixture
def sbatch(monkeypatch):
    monkeypatch.setattr(settings_module.shutil, "which", lambda name: f"/usr/bin/{name}")


@pytest.mark.parametrize(
    "text, minutes",
    [("90", 90), ("90:30", 91), ("4:00:00", 240), ("0:0:1", 1), ("1-12", 2160), ("1-0:30", 1470),
     ("2-1:0:30", 2941)],
)  # fmt: skip
def test_times_are_read_as_slurm_reads_them(text, minutes):
    assert parse_minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "1h", "0", "1:2:3:4", "-5", "1-"])
def test_other_times_are_refused(text):
    with pytest.raises(UserError, match="--time"):
        parse_minutes(text)


def test_memory_is_in_gigabytes():
    assert [parse_gigabytes(t) for t in ("16", "16G", "1.5gb", "512M")] == [16, 16, 1.5, 0.5]
    for text in ("0", "x", "16T"):
        with pytest.raises(UserError, match="--mem"):
            parse_gigabytes(text)


def test_without_a_launcher_there_is_none():
    assert settings_of("--jobs", "4") is None


def test_flags_of_slurm(sbatch):
    made = settings_of(
        "--launcher", "slurm", "--partition", "gpu", "--array-parallelism", "8", "--time", "10",
        "--cpus", "2", "--gpus", "1", "--mem", "16", "--pack", "5", "--retries", "3",
        "--slurm", "qos=low", "--slurm=--account=me",
    )  # fmt: skip
    assert (made.partition, made.at_once, made.minutes, made.cpus) == ("gpu", 8, 10, 2)
    assert (made.gpus, made.mem_gb, made.pack, made.retries) == (1, 16, 5, 3)
    assert made.extra == (("qos", "low"), ("account", "me"))
    assert made.grace_s == 120 and settings_of("--launcher", "slurm", "--time", "1").grace_s == 20
    usual = settings_of("--launcher", "slurm")
    assert (usual.at_once, usual.minutes, usual.pack, usual.gpus) == (64, 240, 20, 0)
    local = settings_of("--launcher", "local", "--jobs", "3")
    assert (local.at_once, local.minutes) == (3, None)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--partition", "gpu"], "--partition is for --launcher slurm"),
        (["--launcher", "local", "--time", "5"], "--time is for --launcher slurm"),
        (["--pack", "3"], "--pack needs --launcher"),
        (["--launcher", "slurm", "--jobs", "2"], "--array-parallelism"),
        (["--launcher", "local", "--array-parallelism", "0"], "--array-parallelism is 0"),
        (["--retries", "-1"], "--retries is -1"),
        (["--launcher", "slurm", "--slurm", "qos"], "NAME=VALUE"),
        (["--launcher", "local", "--no-wait"], "--no-wait is for --launcher slurm"),
        (["--no-wait"], "--no-wait is for --launcher slurm"),
    ],
)
def test_what_cannot_be_is_one_line(sbatch, flags, message):
    with pytest.raises(UserError, match=message) as error:
        settings_of(*flags)
    assert "\n" not in str(error.value)


def test_missing_programs_are_named(monkeypatch):
    monkeypatch.setattr(settings_module.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="there is no sbatch here"):
        settings_of("--launcher", "slurm")
    monkeypatch.setattr(settings_module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"\.\[cluster\]"):
        settings_of("--launcher", "local")


class Answers:
    """Slurm's commands, answered from a table: first word -> lines, or None for no answer."""

    def __init__(self, monkeypatch, **lines):
        self.lines, self.asked = lines, []
        monkeypatch.setattr(slurm, "_ask", self)

    def __call__(self, *command):
        self.asked.append(command)
        return self.lines.get(command[0])


def test_the_largest_array_is_slurms(monkeypatch):
    Answers(monkeypatch, scontrol=["MaxArraySize            = 5001"])
    assert slurm.max_array_size() == 5000
    Answers(monkeypatch)
    assert slurm.max_array_size() == 1000


def test_a_job_is_over_when_the_queue_and_the_accounts_say_so(monkeypatch):
    answers = Answers(monkeypatch, squeue=["7_0", "7_3"])
    said = {"7_1": "COMPLETED", "7_2": "PENDING"}
    monkeypatch.setattr(slurm, "final_states", lambda jobs: {j: said[j] for j in jobs if j in said})
    place = slurm.SlurmJobs(settings_module.ClusterSettings(launcher="slurm"))
    place.states_s = 0
    jobs = ["7_0", "7_1", "7_2", "7_3"]
    assert place.ended(jobs) == {}  # one that queues itself again is in no queue for a moment
    assert place.ended(jobs) == {"7_1": "COMPLETED"}  # of 7_2 the accounts are behind the queue
    jobs.remove("7_1")
    answers.lines["squeue"] = None
    assert place.ended(jobs) == {}  # Slurm does not answer: nothing is known
    answers.lines["squeue"] = ["7_0", "7_2"]
    assert place.ended(jobs) == {}  # 7_2 is back, by a requeue
    answers.lines["squeue"] = []
    said.clear()  # no accounting at all
    assert place.ended(["7_2"]) == {} == place.ended(["7_2"])
    assert place.ended(["7_2"]) == {"7_2": "ENDED"}


def test_jobs_without_noted_ids_are_found_by_their_name(monkeypatch, tmp_path):
    from cerviclip.runs.cluster.submissions import Submission

    answers = Answers(monkeypatch, squeue=["91", "91"])
    place = slurm.SlurmJobs(settings_module.ClusterSettings(launcher="slurm"))
    two = Submission.new(tmp_path, "slurm", [["a"], ["b"]])
    assert place.find(two) == ["91_0", "91_1"]
    assert answers.asked[-1] == ("squeue", "-h", "-o", "%F", "--name", two.name)
    answers.lines |= {"squeue": [], "sacct": ["88"]}
    assert place.find(Submission.new(tmp_path, "slurm", [["a"]])) == ["88"]
    answers.lines["sacct"] = None
    assert place.find(two) == []
    answers.lines["squeue"] = None  # nobody knows: they may be at work, and are not made twice
    with pytest.raises(UserError, match="squeue does not answer.*give the command again"):
        place.find(two)


def test_leaving_says_how_to_end_the_jobs(monkeypatch):
    Answers(monkeypatch)
    place = slurm.SlurmJobs(settings_module.ClusterSettings(launcher="slurm"))
    assert place.leave(["12_0", "12_1", "9"]) == (
        "3 jobs go on; the same command finds them (scancel 9 12 would end them)"
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("invalid partition specified: gpu", "refuses the jobs: .*gpu; correct --partition"),
        ("Unable to contact slurm controller (connect failure)", "does not reach Slurm: .*sinfo"),
        ("resolve_ctls_from_dns_srv: res_nsearch error: Unknown host", "does not reach Slurm"),
    ],
)
def test_what_sbatch_says_leads_to_the_flags_or_to_the_cluster(said, words):
    assert re.search(words, slurm._refusal(RuntimeError(f"failed\nsbatch: error: {said}\n")))
