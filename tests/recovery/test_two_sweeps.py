"""Two sweeps on one folder make each run once between them, whoever dies."""

from __future__ import annotations

import pytest
from recovery_fixtures import (
    finished,
    leftovers,
    logs,
    numbers,
    one_sentence,
    preload,
    sweep_life,
    text_of,
    until,
)
from recovery_fixtures import (
    lean_zoo as zoo,
)
from run_fixtures import zoo as full_zoo  # processes that are started anew measure all

import train
from cerviclip.runs.settings.folders import find_results
from dassl.errors import cli_main

__all__ = ["full_zoo", "zoo"]

SLEEPER = "ZooMain/ZooSleeper/none/default/shots_1/seed_1"
SLEEPING = "trainers: [ZooSleeper, ZooConstant]\nshots: [1]\nseeds: [1]\n"


def begun(out):
    """How often each run was begun."""
    return {str(p.parent.relative_to(out)): logs(p.parent) for p in find_results(out)}


def undisturbed(zoo, text):
    argv = zoo.sweep(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_AWAKE", "1")
        preload(argv)
    whole = numbers(zoo.out)
    zoo.out.rename(zoo.root / "whole")
    return argv, whole


@pytest.mark.parametrize(
    "seeds", ["[1, 2, 3]", pytest.param(str([*range(1, 30)]), marks=pytest.mark.slow)]
)
def test_each_run_is_made_once_between_them(zoo, seeds):
    text = f"trainers: [ZooConstant, ZooLinear]\nshots: [1]\nseeds: {seeds}\n"
    argv, whole = undisturbed(zoo, text)
    lives = [sweep_life(argv, zoo.root / f"log{n}") for n in (1, 2)]
    for n, life in enumerate(lives, start=1):
        assert life.wait() == 0, (zoo.root / f"log{n}").read_text()
    assert numbers(zoo.out) == whole
    assert set(begun(zoo.out).values()) == {1}
    assert leftovers(zoo.out) == []


@pytest.fixture
def asleep(zoo):
    """A sweep that is at work on its first run and will be for minutes."""
    argv, whole = undisturbed(zoo, SLEEPING)
    life = sweep_life(argv, zoo.root / "log1")
    until((zoo.out / SLEEPER / "asleep").exists)
    yield zoo, argv, whole, life
    if life.pid:
        life.kill()


def test_the_runs_of_a_dead_sweep_are_taken_over(asleep):
    zoo, argv, whole, life = asleep
    other = sweep_life(argv, zoo.root / "log2", ZOO_AWAKE="1")
    until(lambda: "; waiting" in text_of(zoo.root / "log2"))
    made = finished(zoo.out)
    assert len(made) == 1 and SLEEPER not in made  # all but the one that the first is at work on
    assert "1 run is being made by another sweep" in text_of(zoo.root / "log2")
    assert life.kill() == -9
    life.pid = 0
    assert other.wait() == 0, text_of(zoo.root / "log2")
    assert made.items() <= finished(zoo.out).items()
    assert numbers(zoo.out) == whole and leftovers(zoo.out) == []


def test_train_py_does_not_touch_a_run_that_is_at_work(asleep, capsys, monkeypatch):
    zoo, _, _, life = asleep
    monkeypatch.setenv("ZOO_AWAKE", "1")
    before = sorted(path.name for path in (zoo.out / SLEEPER).iterdir())
    folder = str(zoo.out / SLEEPER)
    argv = zoo.argv("ZooSleeper", "1", "--seed", "1", "--output-dir", folder)
    capsys.readouterr()
    assert cli_main(train.main, argv) == 2
    one_sentence(capsys.readouterr().err, f"process {life.pid} on ", folder, "wait until it")
    assert sorted(path.name for path in (zoo.out / SLEEPER).iterdir()) == before


@pytest.mark.slow
def test_a_worker_that_outlives_its_sweep_is_not_disturbed(full_zoo):
    """The sweep alone is killed; its workers end their runs, and the next sweep leaves them be."""
    import os
    import signal

    text = "trainers: [ZooLinear, ZooSleeper]\nshots: [1]\nseeds: [1, 2]\n"
    argv, whole = undisturbed(full_zoo, text)
    life = sweep_life([*argv, "--jobs", "2"], full_zoo.root / "log1")
    until(lambda: len(list(full_zoo.out.rglob("asleep"))) == 2, 120)
    os.kill(life.pid, signal.SIGKILL)
    life.wait()
    other = sweep_life(argv, full_zoo.root / "log2", ZOO_AWAKE="1")
    until(lambda: "2 runs are being made by another sweep" in text_of(full_zoo.root / "log2"), 120)
    os.killpg(life.pid, signal.SIGKILL)  # the workers
    assert other.wait() == 0, text_of(full_zoo.root / "log2")
    assert numbers(full_zoo.out) == whole and leftovers(full_zoo.out) == []
