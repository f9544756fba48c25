"""Choosing on val: ties, and what is printed and kept."""

from __future__ import annotations

import pytest
import torch

from cerviclip.engine.fit_once import choose_on_val

SETTINGS = [{"C": 0.1}, {"C": 1.0}, {"C": 10.0}]


@pytest.mark.parametrize(
    "by, accuracy, loss, best",
    [
        ("accuracy", [50, 70, 60], [0.1, 0.9, 0.5], 1),
        ("log_loss", [50, 70, 60], [0.1, 0.9, 0.5], 0),
        ("accuracy", [70, 70, 60], [0.9, 0.2, 0.1], 1),  # tie: the surer one
        ("accuracy", [70, 70, 70], [0.5, 0.5, 0.5], 0),  # tie in both: the first
    ],
)
def test_best_and_its_ties(by, accuracy, loss, best, capsys):
    index, record = choose_on_val(SETTINGS, torch.tensor(accuracy), torch.tensor(loss), by)
    assert index == best
    assert record["chosen"] == SETTINGS[best] and record["tried"] == 3 and record["by"] == by
    assert f"C {SETTINGS[best]['C']:.4g} is best of 3 by {by}" in capsys.readouterr().out
