"""TensorBoard's absence stands in the line that names its folder, and nowhere else."""

import pytest

from dassl.engine import summary
from dassl.engine.trainer_base import TrainerBase


@pytest.mark.parametrize("installed", [True, False])
def test_one_line_says_where_event_files_go_or_that_there_are_none(capsys, monkeypatch, installed):
    monkeypatch.setattr(summary, "find_spec", lambda name: object() if installed else None)
    TrainerBase().init_writer("run/tensorboard")
    end = "" if installed else ": it is not installed, no event files are written"
    assert capsys.readouterr().out == f"Initialize tensorboard (log_dir=run/tensorboard){end}\n"
