"""Replacing an old run: whenever it is killed, a whole run and all evaluations are left."""

from __future__ import annotations

import os

import pytest

import run_shell
from cerviclip.locks import claim_of
from cerviclip.runs.run import working_folder
from cerviclip.runs.run.working_folder import replace_folder, tidy_up
from dassl.errors import cli_main


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def kill_at(monkeypatch, step):
    """Raise instead of the step-th change of a folder's name, or instead of the removal."""
    left = iter(range(step))

    def dying(do):
        def change(*args):
            if next(left, None) is None:
                raise Killed
            do(*args)

        return change

    monkeypatch.setattr(os, "replace", dying(os.replace))
    monkeypatch.setattr(working_folder, "remove", dying(working_folder.remove))


def make_run(folder, text, *evaluations):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(text)
    for name in evaluations:
        (folder / "eval" / name).mkdir(parents=True)
        (folder / "eval" / name / "results.json").write_text(name)


def evaluations(folder):
    return sorted(path.parent.name for path in folder.glob("eval/*/results.json"))


@pytest.mark.parametrize("step", range(6))
def test_killed_between_any_two_steps_loses_no_evaluation(tmp_path, monkeypatch, step):
    folder, new = tmp_path / "seed_1", tmp_path / f".seed_1.new-{os.getpid()}"
    make_run(folder, "old", "monday", "tuesday")
    make_run(new, "new")
    with monkeypatch.context() as patch:
        kill_at(patch, step)
        if step < 5:  # two renames of runs, one of each evaluation, the removal
            with pytest.raises(Killed):
                replace_folder(folder, new)
        else:
            replace_folder(folder, new)
    tidy_up(folder)
    assert (folder / "results.json").read_text() == ("old" if step < 2 else "new")
    assert evaluations(folder) == ["monday", "tuesday"]
    assert [path.name for path in tmp_path.iterdir()] == ["seed_1"]


def test_what_killed_processes_were_writing_goes_and_other_files_stay(tmp_path):
    folder = tmp_path / "seed_1"
    make_run(folder, "old", "monday")
    (folder / "model").mkdir()
    written = [folder / ".results.json.123.0a1b2c3d.tmp", folder / "model" / ".m.1.00000000.tmp"]
    mine = [folder / ".mine.tmp", folder / "notes.123.0a1b2c3d.tmp"]
    for path in (*written, *mine):
        path.touch()
    tidy_up(folder)
    assert [path.exists() for path in (*written, *mine)] == [False, False, True, True]


def test_an_evaluation_made_since_the_kill_stays_beside_the_old_ones(tmp_path, monkeypatch):
    folder, new = tmp_path / "seed_1", tmp_path / f".seed_1.new-{os.getpid()}"
    make_run(folder, "old", "monday")
    make_run(new, "new", "wednesday")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, 2)
        replace_folder(folder, new)
    assert evaluations(folder) == ["wednesday"]
    tidy_up(folder)
    assert evaluations(folder) == ["monday", "wednesday"]


def test_a_sweep_whose_runs_are_all_finished_tidies_up_too(zoo):
    argv = zoo.sweep("trainers: [ZooConstant]\nshots: [1]\nseeds: [1]\n")
    assert cli_main(run_shell.main, argv) == 0
    [results] = zoo.out.rglob("results.json")
    folder = results.parent
    make_run(folder.with_name(f".{folder.name}.old-{os.getpid()}"), "old", "monday")
    claim_of(folder).write_text("process 1 on a machine that was killed there")
    assert cli_main(run_shell.main, argv) == 0
    assert evaluations(folder) == ["monday"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
