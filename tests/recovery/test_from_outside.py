"""Data that vanish and processes that the system kills: one sentence, and the work goes on."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from recovery_fixtures import finished, numbers, one_sentence
from recovery_fixtures import lean_zoo as zoo
from run_fixtures import zoo as full_zoo  # processes that are started anew measure all

import run_shell
import train
from cerviclip.data.images import cache as image_cache
from cerviclip.runs.results_json import read_results
from cerviclip.runs.run.process.outside import describe, disk_cause, outside_cause
from cerviclip.runs.run.runner import state_of
from cerviclip.runs.sweep import command
from dassl.engine import TrainerX
from dassl.errors import MissingFileError, StoppedError, UserError, cli_main
from dassl.utils import images
from helpers import write_images

__all__ = ["full_zoo", "zoo"]

CELLS = [
    *("DATASET.FOLDER", "cells", "DATASET.PATIENT_PATTERN", r"(P\d{7})"),
    *("DATASET.POSITIVE", "('a',)", "TEST.EXTERNAL", "[]", "TRAIN.CHECKPOINT_FREQ", "1"),
]
TEXT = "trainers: [ZooLinear]\nshots: [1, 2]\nseeds: [1, 2]\n"


@pytest.fixture
def cells(zoo):
    write_images(zoo.root / "cells", {"a": 18, "b": 18}, patients=6, size=8)
    yield zoo
    image_cache.disable()


def sweep(zoo, text=TEXT, *flags):
    return cli_main(run_shell.main, zoo.sweep(text, *flags))


def test_a_data_folder_that_vanishes_in_the_middle_of_a_sweep(cells, capsys, monkeypatch):
    flags = ["--datasets", "FolderDataset", "--opts", *CELLS]
    assert sweep(cells, TEXT, *flags) == 0
    whole = numbers(cells.out)
    cells.out.rename(cells.root / "whole")
    image_cache.disable()
    started, seen = command.SweepProgress.started, []

    def vanish_at_third(self, spec):
        seen.append(spec)
        if len(seen) == 3:
            (cells.root / "cells").rename(cells.root / "gone")
        started(self, spec)

    with monkeypatch.context() as patch:
        patch.setattr(command.SweepProgress, "started", vanish_at_third)
        capsys.readouterr()
        assert sweep(cells, TEXT, *flags) == 1
    printed = capsys.readouterr()
    said = [line for line in printed.out.splitlines() if line.startswith("failed ")]
    assert len(said) == 2 and all(str(cells.root / "cells") in line for line in said)
    assert "Traceback" not in printed.out + printed.err
    made = finished(cells.out)
    assert len(made) == 2
    image_cache.disable()
    (cells.root / "gone").rename(cells.root / "cells")
    assert sweep(cells, TEXT, *flags) == 0
    assert made.items() <= finished(cells.out).items()
    assert numbers(cells.out) == whole


def test_data_that_vanish_after_hours_of_training_cost_none_of_them(cells, capsys, monkeypatch):
    def argv(name):
        own = dict(zip(CELLS[::2], CELLS[1::2], strict=True)) | {"OPTIM.MAX_EPOCH": "3"}
        flags = ["--dataset", "FolderDataset", "--output-dir", str(cells.out / name)]
        words = cells.argv("ZooLinear", "2", *flags)
        return [*words, *(word for pair in own.items() for word in pair)]

    assert cli_main(train.main, argv("whole")) == 0
    image_cache.disable()
    after_epoch = TrainerX.after_epoch

    def vanish(self):
        after_epoch(self)
        if self.epoch == 1:
            (cells.root / "cells").rename(cells.root / "gone")
            image_cache.disable()

    with monkeypatch.context() as patch:
        patch.setattr(TrainerX, "after_epoch", vanish)
        capsys.readouterr()
        assert cli_main(train.main, argv("run")) == 2
    one_sentence(capsys.readouterr().err, str(cells.root / "cells"), "restore the file")
    folder = cells.out / "run"
    assert (folder / "model" / "model.pth.tar-2").is_file()
    image_cache.disable()
    (cells.root / "gone").rename(cells.root / "cells")
    assert cli_main(train.main, argv("run")) == 0
    again, whole = read_results(folder), read_results(cells.out / "whole")
    assert again.pop("runtime") and whole.pop("runtime") and again == whole
    assert "will resume training" in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_worker_says_what_to_do_and_its_run_goes_on(full_zoo, capsys, monkeypatch):
    """As the system kills the largest process when memory runs out."""
    text = "trainers: [ZooFragile, ZooConstant]\nshots: [1]\nseeds: [1]\n"
    flags = ["--jobs", "2", "--opts", "TRAIN.CHECKPOINT_FREQ", "1"]
    monkeypatch.setenv("ZOO_MENDED", "1")
    assert sweep(full_zoo, text, *flags) == 0
    whole = numbers(full_zoo.out)
    full_zoo.out.rename(full_zoo.root / "whole")
    monkeypatch.delenv("ZOO_MENDED")
    capsys.readouterr()
    assert sweep(full_zoo, text, *flags) == 1
    printed = capsys.readouterr()
    [said] = [line for line in printed.out.splitlines() if line.startswith("failed ZooFragile on ")]
    assert "signal 9, as the system does when memory runs out" in said and "--jobs" in said
    assert "Traceback" not in printed.out + printed.err
    [constant] = finished(full_zoo.out)
    assert "ZooConstant" in constant
    assert sweep(full_zoo, text, *flags) == 0
    assert numbers(full_zoo.out) == whole
    [folder] = (full_zoo.out / "ZooMain" / "ZooFragile").rglob("shots_1/seed_1")
    logs = "".join(path.read_text() for path in folder.glob("log.txt*"))
    assert "will resume training" in logs


def test_a_failed_run_of_outside_is_gone_on_from_and_one_of_its_own_is_not(zoo, monkeypatch):
    """By the states that the next call finds."""
    from cerviclip.runs.results_json import write_results
    from cerviclip.runs.run.failed import failed_results

    cfg, folder = zoo.cfg(), zoo.out / "run"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(cfg.dump())
    for error, state in [
        (OSError(28, "No space left on device"), "unfinished"),
        (MemoryError(), "unfinished"),
        ("the worker process died", "unfinished"),
        (FloatingPointError("Loss is infinite or NaN!"), "failed"),
        (RuntimeError("shapes differ"), "failed"),
    ]:
        write_results(folder, failed_results(cfg, "default", error))
        assert state_of(folder, cfg) == state, error
    write_results(folder, failed_results(cfg, "default", MemoryError()))
    assert state_of(folder, zoo.cfg(OPTIM__LR="0.1")) == "failed"  # not of these settings


@pytest.mark.slow
def test_a_killed_loader_worker_is_one_sentence(cells, capsys, monkeypatch):
    marker = cells.root / "killed"
    decode = images.decode_image

    def killed_once(path):
        if torch.utils.data.get_worker_info() is not None and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(path)

    monkeypatch.setattr(images, "decode_image", killed_once)
    own = dict(zip(CELLS[::2], CELLS[1::2], strict=True)) | {"DATALOADER.NUM_WORKERS": "1"}
    flags = ["--dataset", "FolderDataset", "--output-dir", str(cells.out / "run")]
    argv = cells.argv("ZooLinear", "2", *flags)
    argv += [word for pair in own.items() for word in pair]
    capsys.readouterr()
    assert cli_main(train.main, argv) == 1
    one_sentence(capsys.readouterr().err, "a process that loads images was killed", "NUM_WORKERS")
    assert marker.exists()
    assert cli_main(train.main, argv) == 0


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(28, "No space left on device", "/a/b"), "the disk is full: /a/b"),
        (OSError(122, "Disk quota exceeded", "/a/b"), "the disk is full: /a/b"),
        (OSError(28, "No space left on device"), "the disk is full: /run"),
        (OSError(30, "Read-only file system", "/a/b"), "the file system is read-only: /a/b"),
        (OSError(13, "Permission denied", "/a/b"), "no permission: /a/b"),
        (FileNotFoundError(2, "No such file", "/a/b"), "/a/b is not there"),
        (OSError(5, "Input/output error", "/a/b"), "/a/b is not there (Input/output error)"),
        (MissingFileError("image x does not exist; restore it"), "image x does not exist"),
        (MemoryError(), "memory ran out"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "memory ran"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "loads images"),
    ],
)
def test_the_sentence_of_what_stops_a_run_from_outside(error, words):
    try:
        try:
            raise error
        except Exception as inner:
            raise RuntimeError("wrapped") from inner
    except RuntimeError as outer:
        assert words in outside_cause(outer, "/run") == describe(outer, "/run")
        full = "disk is full" in words or "read-only" in words
        assert bool(disk_cause(outer, "/run")) == full


@pytest.mark.parametrize(
    "error", [ValueError("no"), UserError("no"), RuntimeError("shapes"), KeyError("x")]
)
def test_what_code_broke_is_not_of_outside(error):
    assert outside_cause(error) == "" == disk_cause(error)
    assert describe(error).startswith(f"{type(error).__name__}: ")


def test_a_command_on_a_full_disk_is_one_line_and_status_1(capsys):
    def full(_):
        raise OSError(28, "No space left on device", "/x/summary.csv")

    assert cli_main(full, []) == 1
    one_sentence(capsys.readouterr().err, "the disk is full: /x/summary.csv", "make room")
    with pytest.raises(OSError, match="No space"):
        cli_main(full, ["--debug"])

    def stopped(_):
        raise StoppedError("it stopped")

    assert cli_main(stopped, []) == 1
    one_sentence(capsys.readouterr().err, "it stopped")

    def other(_):
        raise OSError(22, "Invalid argument")

    with pytest.raises(OSError, match="Invalid"):
        cli_main(other, [])
