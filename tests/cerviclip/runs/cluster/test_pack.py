"""A job: it makes its runs, stops when told, goes on where it stopped, and changes no number."""

import json
import os
import signal
from pathlib import Path

import pytest
from cluster_fixtures import jobs_of
from run_fixtures import all_results

from cerviclip.runs.cluster import pack as pack_module
from cerviclip.runs.cluster.journal import ENDED, STOPPED, Event, Journal
from cerviclip.runs.cluster.pack import FRUITLESS, Pack, fruitless, in_packs
from cerviclip.runs.jobs.executors import InProcess
from cerviclip.runs.jobs.job import Outcome
from cerviclip.runs.run.process import rescue as rescue_module
from cerviclip.runs.run.process.stop import Stopped, current_stop, stop_on_signals
from cerviclip.runs.settings.folders import RESCUED
from dassl.engine.trainer import SimpleTrainer

TEXT = "trainers: [ZooLinear]\nshots: [1]\nseeds: [1]\n"
LONG = TEXT.replace("ZooLinear", "{trainer: ZooLinear, opts: {OPTIM.MAX_EPOCH: 6}}")


@pytest.fixture
def in_job(tmp_path, monkeypatch):
    """Packs are called here as if submitit had started them; returns what asks for another turn."""
    monkeypatch.setattr(pack_module, "_submitit_job", lambda: ("7_1", str(tmp_path / "7_1.log")))
    again = []
    monkeypatch.setattr(pack_module, "requeued", lambda: again.append(1) or True)
    before = dict(os.environ)
    yield again
    os.environ.clear()
    os.environ.update(before)


def pack_of(zoo, jobs, **more) -> Pack:
    zoo.out.mkdir(exist_ok=True)
    return Pack(jobs, str(zoo.out / "job.jsonl"), os.getcwd(), **more)


def events(zoo) -> list[tuple[str, str]]:
    found = Journal(zoo.out / "job.jsonl").events()
    return [(event.what, Path(event.folder).parent.name) for event in found]


def files_of(job) -> list[str]:
    """The names in a run's folder; each start of a run has a log of its own."""
    names = [path.name for path in Path(job.folder).rglob("*")]
    return sorted(name for name in names if not name.startswith("log.txt"))


def signalled_after(monkeypatch, epoch: int, *names: str) -> None:
    """Send signals to this process while the engine is in its hook after an epoch."""
    own = SimpleTrainer.after_epoch

    def after_epoch(self):
        own(self)
        if self.epoch + 1 == epoch:
            for name in names:
                os.kill(os.getpid(), getattr(signal, name))

    monkeypatch.setattr(SimpleTrainer, "after_epoch", after_epoch)


def test_a_job_makes_its_runs_and_notes_each(zoo, in_job):
    jobs = jobs_of(zoo, TEXT.replace("[1]", "[1, 2]", 1))
    pack_of(zoo, jobs)()
    assert events(zoo) == [
        (what, shots) for shots in ("shots_1", "shots_2") for what in ("started", "ended")
    ]
    results = json.loads(Path(jobs[0].folder, "results.json").read_text())
    assert results["runtime"]["job"]["job"] == "7_1"
    assert results["runtime"]["job"]["log"].endswith("7_1.log")
    assert in_job == []


@pytest.mark.parametrize("names", [("SIGUSR1",), ("SIGUSR2", "SIGUSR2"), ("SIGTERM", "SIGUSR2")])
def test_a_stopped_run_goes_on_to_the_numbers_of_an_undisturbed_one(
    zoo, in_job, monkeypatch, tmp_path, names
):
    jobs = jobs_of(zoo, LONG)
    list(InProcess().run(jobs, lambda job: None))
    whole, files = all_results(zoo.out), files_of(jobs[0])
    history = Path(jobs[0].folder, "history.csv").read_text()
    zoo.out.rename(tmp_path / "undisturbed")

    with monkeypatch.context() as patch:
        signalled_after(patch, 3, *names)
        with pytest.raises(SystemExit) as end:
            pack_of(zoo, jobs)()
    assert end.value.code and in_job == [1] and all_results(zoo.out) == {}
    model = Path(jobs[0].folder, "model")
    assert sorted(path.name for path in model.iterdir()) == ["checkpoint", "model.pth.tar-3"]
    trained = []
    monkeypatch.setattr(SimpleTrainer, "before_epoch", lambda t: trained.append(t.epoch + 1))
    pack_of(zoo, jobs)()
    assert trained == [4, 5, 6]
    assert all_results(zoo.out) == whole
    assert Path(jobs[0].folder, "history.csv").read_text() == history
    assert files_of(jobs[0]) == files  # no rescue is left


def test_a_signal_while_a_checkpoint_is_written_leaves_it_whole(zoo, in_job, monkeypatch):
    from dassl.utils import checkpoints

    own, torn = checkpoints.to_plain, []

    def interrupted(value, where="checkpoint"):
        if isinstance(value, dict) and value.get("epoch") == 2:
            os.kill(os.getpid(), signal.SIGUSR2)
            torn.append(value["epoch"])
        return own(value, where)

    monkeypatch.setattr(checkpoints, "to_plain", interrupted)
    monkeypatch.setattr(rescue_module, "EVERY_S", 0.0)  # a checkpoint after each epoch
    jobs = jobs_of(zoo, LONG)
    with pytest.raises(SystemExit):
        pack_of(zoo, jobs)()
    assert torn == [2]
    files = sorted(path.name for path in Path(jobs[0].folder, "model").iterdir())
    assert files == ["checkpoint", "model.pth.tar-3"]  # the signal waited for the next epoch's end
    assert checkpoints.load_checkpoint(Path(jobs[0].folder, "model", files[1]))["epoch"] == 3


def test_checkpoints_of_the_configuration_stay_and_rescued_ones_go(zoo, in_job, monkeypatch):
    monkeypatch.setattr(rescue_module, "EVERY_S", 0.0)
    (job,) = jobs_of(zoo, LONG.replace("6}", "6, TRAIN.CHECKPOINT_FREQ: 4}"))
    seen = []
    own = SimpleTrainer.after_epoch

    def after_epoch(self):
        own(self)
        model = Path(self.output_dir, "model")
        seen.append(sorted(p.name for p in model.glob("model.*")) if model.is_dir() else [])

    monkeypatch.setattr(SimpleTrainer, "after_epoch", after_epoch)
    pack_of(zoo, [job])()
    assert seen[2] == ["model.pth.tar-2"]  # of epoch 3 it is written after this hook
    assert sorted(p.name for p in Path(job.folder, "model").glob("model.*")) == [
        "model.pth.tar-4",
        "model.pth.tar-6",
    ]
    assert not Path(job.folder, RESCUED).exists()


def test_outside_a_job_nothing_is_saved_in_case(zoo, monkeypatch):
    monkeypatch.setattr(rescue_module.Rescue, "save", lambda *a: pytest.fail("saved"))
    assert current_stop() is None
    (outcome,) = InProcess().run(jobs_of(zoo, LONG), lambda job: None)
    assert outcome.error is None


def test_a_failed_run_is_noted_and_not_made_again_by_a_job_that_starts_again(zoo, in_job):
    jobs = jobs_of(zoo, "trainers: [ZooBroken, ZooLinear]\nshots: [1]\nseeds: [1]\n")
    pack_of(zoo, jobs)()
    pack_of(zoo, jobs)()
    found = [(e.what, e.error) for e in Journal(zoo.out / "job.jsonl").events()]
    assert found == [
        ("started", None),
        ("ended", "RuntimeError: the zoo is on fire"),
        ("started", None),
        ("ended", None),
    ]


def test_a_run_that_dies_of_the_signal_is_not_a_failed_one(zoo, in_job, monkeypatch):
    """A loader's worker gets the signal too, and its death looks like an error of the run."""
    jobs = jobs_of(zoo, LONG)
    own = SimpleTrainer.after_epoch

    def after_epoch(self):
        own(self)
        if self.epoch == 1:
            os.kill(os.getpid(), signal.SIGUSR2)
            raise RuntimeError("DataLoader worker is killed by signal: User defined signal 2")

    with monkeypatch.context() as patch:
        patch.setattr(SimpleTrainer, "after_epoch", after_epoch)
        with pytest.raises(SystemExit):
            pack_of(zoo, jobs)()
    assert events(zoo)[-1][0] == STOPPED
    assert not Path(jobs[0].folder, "results.json").exists()
    pack_of(zoo, jobs)()
    assert all_results(zoo.out)


def test_a_node_without_scontrol_ends_the_job_and_leaves_the_rest(zoo, monkeypatch, in_job, capsys):
    class Environment:
        def _requeue(self, countdown):
            raise FileNotFoundError("scontrol")

    import submitit

    monkeypatch.undo()
    monkeypatch.setattr(pack_module, "_submitit_job", lambda: ("7", "7.log"))
    monkeypatch.setattr(submitit, "JobEnvironment", Environment)
    signalled_after(monkeypatch, 1, "SIGUSR2")
    jobs = jobs_of(zoo, LONG)
    pack_of(zoo, jobs)()  # no SystemExit: the job has ended, and says what it left
    assert events(zoo)[-1][0] == STOPPED
    assert "cannot queue this job again (scontrol)" in capsys.readouterr().out


def test_sigterm_alone_asks_for_no_turn(zoo, in_job, monkeypatch):
    """Who cancels a job does not want it back; who preempts it queues it again."""
    signalled_after(monkeypatch, 1, "SIGTERM")
    with pytest.raises(SystemExit) as end:
        pack_of(zoo, jobs_of(zoo, LONG))()
    assert end.value.code == 143 and in_job == []


def test_a_limit_too_short_for_one_checkpoint_ends_in_an_error(zoo, in_job, monkeypatch):
    """Before the first epoch ends there is nothing to save: such a job would start for ever."""
    jobs = jobs_of(zoo, LONG)

    def told_at_once(job):
        os.kill(os.getpid(), signal.SIGUSR2)
        raise Stopped

    monkeypatch.setattr(pack_module, "do_job", told_at_once)
    for _ in range(FRUITLESS - 1):
        with pytest.raises(SystemExit):
            pack_of(zoo, jobs, limit_s=60)()
    pack_of(zoo, jobs, limit_s=60)()
    last = Journal(zoo.out / "job.jsonl").events()[-1]
    assert last.what == ENDED and last.final
    assert "time of 1 minutes ended 3 times" in last.error and "--time" in last.error


def test_preemptions_and_progress_do_not_count_as_fruitless():
    def stops(*marks):
        return [Event(STOPPED, "a", progress=m, timed_out=late) for m, late in marks]

    assert fruitless(stops(("", True), ("", True)), "a") == 2
    assert fruitless(stops(("", True), ("", False), ("", True)), "a") == 1
    assert fruitless(stops(("1", True), ("1", True), ("2", True)), "a") == 1
    assert fruitless(stops(("1", True)), "b") == 0


def test_runs_of_seconds_share_jobs_by_backbone_and_others_have_their_own(zoo):
    text = "trainers: [ZooQuick, {trainer: ZooQuick, name: other, backbone: PhantomCLIP}, ZooLinear"
    jobs = jobs_of(zoo, f"{text}, ZooConstant]\nshots: [1, 2]\nseeds: [1, 2]\n")
    packs = [
        [(j.spec.trainer, j.spec.variant, j.spec.num_shots, j.spec.seed) for j in pack]
        for pack in in_packs(jobs, 3)
    ]
    cells = [(k, s) for k in (1, 2) for s in (1, 2)]
    quick, other = ([("ZooQuick", v, *cell) for cell in cells] for v in ("default", "other"))
    linear = [[("ZooLinear", "default", *cell)] for cell in cells]
    constant = ("ZooConstant", "default", 0, 0)
    assert packs == [quick[:3], [quick[3], constant], other[:3], other[3:], *linear]
    assert [len(pack) for pack in in_packs(jobs, 1)] == [1] * 13


def test_a_run_that_another_process_makes_comes_last(zoo, in_job, monkeypatch):
    jobs = jobs_of(zoo, TEXT.replace("[1]", "[1, 2]", 1))
    asked = []

    def do_job(job):
        asked.append((job.spec.num_shots, job.wait))
        return Outcome(job, None, at_work=job.spec.num_shots == 1 and not job.wait)

    monkeypatch.setattr(pack_module, "do_job", do_job)
    pack_of(zoo, jobs)()
    assert asked == [(1, False), (2, False), (1, True)]
    assert [what for what, shots in events(zoo) if shots == "shots_1"] == [
        "started", "started", "ended",
    ]  # fmt: skip


def test_handlers_are_put_back_and_stops_do_not_outlive_their_block():
    before = signal.getsignal(signal.SIGUSR2)
    with stop_on_signals() as stop:
        assert current_stop() is stop and not stop.asked
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.signals == ["SIGUSR1"] and stop.queue_again
        stop.at_once = True
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # the second one only notes
    assert signal.getsignal(signal.SIGUSR2) is before and current_stop() is None


def test_a_journal_survives_a_line_cut_short(tmp_path):
    journal = Journal(tmp_path / "j.jsonl", {"job": "3", "node": "n1"})
    journal.write(Event("started", "a"))
    with open(journal.path, "a") as handle:
        handle.write('{"what": "ended", "fol')
    reader = Journal(journal.path)
    assert [event.folder for event in reader.news()] == ["a"] and reader.news() == []
    journal.write(Event(ENDED, "a", "RuntimeError: x"))
    (event,) = reader.news()
    assert (event.what, event.error, event.job, event.node) == (ENDED, "RuntimeError: x", "3", "n1")
