"""Full and read-only disks: one sentence, and what was done stays and is gone on from."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from recovery_fixtures import (
    disk,
    filled,
    finished,
    leftovers,
    logs,
    numbers,
    one_sentence,
    read_only,
)
from recovery_fixtures import (
    lean_zoo as zoo,
)

import run_shell
import train
from cerviclip.runs.results_json import read_results
from dassl.errors import cli_main
from dassl.utils import files

__all__ = ["zoo"]

TEXT = "trainers: [ZooConstant, ZooLinear]\nshots: [1, 2]\nseeds: [1]\n"
EPOCHS = ["--opts", "TRAIN.CHECKPOINT_FREQ", "1", "TEST.FINAL_MODEL", "best_val"]
RUNS = [
    "ZooMain/ZooConstant/none/default/shots_0/seed_0",
    *(f"ZooMain/ZooLinear/none/default/shots_{k}/seed_1" for k in (1, 2)),
]


def sweep(zoo, *flags):
    return cli_main(run_shell.main, zoo.sweep(TEXT, *EPOCHS, *flags))


_whole: dict = {}  # the numbers of the sweep, which do not depend on where it lies


@pytest.fixture
def undisturbed(zoo):
    """The numbers of the sweep on a disk with room."""
    if not _whole:
        assert sweep(zoo) == 0
        _whole.update(numbers(zoo.out))
        zoo.out.rename(zoo.root / "whole")
        assert set(RUNS) < set(_whole)
    return _whole


def fill_and_go_on(zoo, leave, capsys):
    """One sweep that meets a full disk; returns the file that it names, "" where all fitted."""
    with filled(zoo.out, leave):
        before = finished(zoo.out)
        capsys.readouterr()
        status = sweep(zoo)
        error = capsys.readouterr().err
    after = finished(zoo.out)
    assert before.items() <= after.items()
    if status == 0:
        return ""
    assert status == 1
    one_sentence(error, "the disk is full", "make room", str(zoo.out))
    return error.partition("full: ")[2].partition(" cannot be written")[0]


@pytest.mark.parametrize("leave", [24 * 1024, pytest.param(0, marks=pytest.mark.slow)])
def test_a_sweep_on_a_full_disk_says_so_and_goes_on_when_there_is_room(
    zoo, undisturbed, leave, capsys
):
    with disk(zoo.out, "4m"):
        assert fill_and_go_on(zoo, leave, capsys).startswith(str(zoo.out))
        assert sweep(zoo) == 0
        assert numbers(zoo.out) == undisturbed
        assert leftovers(zoo.out) == []


@pytest.mark.slow
def test_whichever_file_meets_the_full_disk(zoo, undisturbed, capsys):
    """A little more room each time: every file of runs and tables is the one that does not fit."""
    with disk(zoo.out, "4m"):
        named = [fill_and_go_on(zoo, 4096 * pages, capsys) for pages in range(0, 60, 2)]
        assert sweep(zoo) == 0
        assert numbers(zoo.out) == undisturbed and leftovers(zoo.out) == []
    names = {name.rpartition("/")[2] for name in named}
    print(sorted(names))
    assert "config.yaml" in names and any(n.startswith("model") for n in names)
    assert len(names - {""}) >= 6


FILES = [
    *("config.yaml", "split.json", "model.pth.tar-1", "model-best.pth.tar", "checkpoint"),
    *("history.csv", "predictions.csv", "val_predictions.csv"),
]
ALONE = {"TRAIN__CHECKPOINT_FREQ": "1", "TEST__FINAL_MODEL": "best_val"}


@contextmanager
def full_from(folder, name):
    """A `disk` that is full from the moment on at which a file of this name is written."""
    fillers, with_name = [], files.Path.with_name

    def filling(path, new):
        if path.name == name and new.endswith(".tmp") and not fillers:
            fillers.append(filled(folder, 0))
            fillers[0].__enter__()
        return with_name(path, new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.Path, "with_name", filling)
        yield
    assert fillers, f"nothing wrote {name}"
    fillers[0].__exit__(None, None, None)


@pytest.mark.parametrize(
    "name", ["results.json", *(pytest.param(n, marks=pytest.mark.slow) for n in FILES)]
)
def test_the_file_that_does_not_fit_is_named_and_the_run_goes_on(zoo, name, capsys):
    def argv(folder):
        return zoo.argv("ZooLinear", "2", "--output-dir", str(folder / "run"), **ALONE)

    assert cli_main(train.main, argv(zoo.root)) == 0
    whole = numbers(zoo.root)
    folder = zoo.out / "run"
    with disk(zoo.out, "4m"):
        with full_from(zoo.out, name):
            capsys.readouterr()
            assert cli_main(train.main, argv(zoo.out)) == 1
            error = capsys.readouterr().err
            one_sentence(error, "the disk is full", "make room", str(folder))
            if not (folder / "log.txt").read_text().endswith("\n"):  # else the log came first
                assert name in error or "log.txt" in error
            assert not list(zoo.out.rglob(".*.tmp"))
        begun = logs(folder)
        assert cli_main(train.main, argv(zoo.out)) == 0
        assert numbers(zoo.out) == whole
        assert logs(folder) == begun + 1
        if name in ("results.json", "predictions.csv", "history.csv"):
            text = "".join(path.read_text() for path in folder.glob("log.txt*"))
            assert "will resume training" in text


def test_a_read_only_folder_is_named_before_any_run(zoo, undisturbed, capsys):
    with disk(zoo.out, "4m"):
        assert sweep(zoo, "--shots", "1") == 0
        before = finished(zoo.out)
        with read_only(zoo.out):
            capsys.readouterr()
            assert sweep(zoo) == 2
            one_sentence(capsys.readouterr().err, str(zoo.out), "Read-only", "--output-dir")
            assert sweep(zoo, "--shots", "1") == 0  # all there: its table is printed
            assert "ZooLinear" in capsys.readouterr().out
        assert finished(zoo.out) == before
        assert sweep(zoo) == 0
        assert numbers(zoo.out) == undisturbed


def test_one_run_whose_folder_is_read_only(zoo, undisturbed, capsys):
    """The first run is made and stays; the sweep stops there, for the user to see to it."""
    place = zoo.out / RUNS[1]
    with disk(place, "1m"), read_only(place):
        capsys.readouterr()
        assert sweep(zoo) == 1
        one_sentence(
            capsys.readouterr().err, "read-only", str(place), "1 of 3 runs are finished and stay"
        )
        assert list(finished(zoo.out)) == RUNS[:1]
    assert sweep(zoo) == 0
    assert numbers(zoo.out) == undisturbed


def test_a_run_alone_on_a_read_only_folder(zoo, capsys):
    argv = zoo.argv("ZooLinear", "2", "--output-dir", str(zoo.out / "run"))
    with disk(zoo.out, "1m"), read_only(zoo.out):
        capsys.readouterr()
        assert cli_main(train.main, argv) == 2
        one_sentence(capsys.readouterr().err, str(zoo.out / "run"), "Read-only", "--output-dir")
    assert read_results(zoo.out / "run") is None
