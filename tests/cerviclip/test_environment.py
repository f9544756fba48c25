"""What our commands read of the environment."""

from __future__ import annotations

from cerviclip.cli import main


def test_a_sweep_refuses_several_processes_of_torchrun(monkeypatch, capsys):
    """Each of them would make all runs, in the same folders."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["sweep"]) == 2
    error = capsys.readouterr().err
    assert "torchrun has started 2 processes" in error and "--jobs N" in error


def test_one_process_of_torchrun_is_as_good_as_none(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert main(["train"]) == 2
    assert "no trainer given" in capsys.readouterr().err
