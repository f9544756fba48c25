"""What our commands read of the environment."""

from __future__ import annotations

import pytest

from cerviclip.cli import main


@pytest.mark.parametrize("argv", [["train", "--trainer", "CoOp"], ["sweep"]])
def test_several_processes_of_torchrun_are_refused(monkeypatch, capsys, argv):
    """Each of them would make the whole run, in the same folder."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert "torchrun has started 2 processes" in error and "--jobs N" in error


def test_one_process_of_torchrun_is_as_good_as_none(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert main(["train"]) == 2
    assert "no trainer given" in capsys.readouterr().err
