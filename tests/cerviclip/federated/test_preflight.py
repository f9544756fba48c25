"""What a federation cannot train is refused before any local run is made."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cerviclip.federated import center, command, preflight
from cerviclip.federated.plan import read_plan
from dassl.errors import UserError


@pytest.fixture(autouse=True)
def nothing_is_installed_or_trained(monkeypatch):
    from cerviclip.runs.run.runner import Run

    def train(self):
        raise AssertionError("a run is trained")

    monkeypatch.setattr(command, "_check_installed", lambda insecure: None)
    monkeypatch.setattr(Run, "train", train)


@pytest.mark.parametrize(
    ("trainer", "rounds", "lines", "said"),
    [
        ("ClipAdapter", 9, "", r"9 rounds are more than the 4 epochs of this centre's training"),
        ("LinearProbe", 3, "", r"LinearProbe is fitted in one step and has no weights to average "
         r"in 3 rounds; take a method that is trained over epochs, such as CoOp"),
        ("ZeroshotCLIP", 1, "", "ZeroshotCLIP trains nothing"),
        ("TipAdapterF", 2, "", "TipAdapterF keeps the features of its training images"),
    ],
)  # fmt: skip
def test_it_is_refused_before_a_run_is_made(write_plan, tmp_path, trainer, rounds, lines, said):
    plan = read_plan(write_plan(trainer, lines=lines, rounds=rounds))
    with pytest.raises(UserError, match=f"^{said}"):
        command.run_here(plan, tmp_path / "out")
    assert not [path for path in tmp_path.glob("out/**/*") if path.is_file()]


@pytest.mark.parametrize(("iterations", "epochs"), [(9, 3), (8, 2), (0, 7)])
def test_a_training_of_iterations_has_as_many_epochs_as_they_fill(iterations, epochs):
    loader = range(4)
    trainer = SimpleNamespace(max_iters=iterations, max_epoch=7, train_loader_x=loader)
    assert preflight.epochs_of(trainer) == epochs


def test_a_finished_federation_is_not_built_again(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_federated_is_done", lambda *_: True)
    monkeypatch.setattr(command, "_leaks_between", lambda *_: None)
    monkeypatch.setattr(center, "check_training", lambda *_: pytest.fail("built again"))
    with pytest.raises(AssertionError, match="a run is trained"):
        command.run_here(plan, tmp_path / "out")
