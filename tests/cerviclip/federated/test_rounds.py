"""Rounds without a network: runs that take turns with a server played by the test."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch

from cerviclip.federated import command
from cerviclip.federated.center import CenterRun, join_federation, start_run
from cerviclip.federated.plan import read_plan
from cerviclip.federated.weights import (
    add_proximal_gradient,
    learnt_tensors,
    read_weights,
    set_weights,
)
from cerviclip.runs.run.runner import run_one
from cerviclip.runs.settings.configure import setup_cfg
from dassl.errors import UserError


def play(plan, name, out, average=lambda round_number, own: own):
    """One centre's run to its end; ``average`` stands for the federation."""
    turns, thread = start_run(plan, name, out)
    sent = [turns.take()]
    turns.set(average(0, sent[0][0]))
    for round_number in range(1, plan.rounds + 1):
        sent.append(turns.take())
        turns.set(average(round_number, sent[-1][0]))
    thread.join(60)
    assert not thread.is_alive()
    return sent, json.loads((out / "results.json").read_text())


class PlayedFlower:
    """Stands for Flower: a client's base class, and a federation of as many rounds as the test
    says."""

    class NumPyClient:
        def to_client(self):
            return self

    def __init__(self, rounds, last=True):
        self.rounds, self.last = rounds, last

    def start_client(self, client, **_):
        weights = client.get_parameters({})
        for _ in range(self.rounds):
            weights, *_ = client.fit(weights, {})
        if self.last:
            client.evaluate(weights, {})


def join(monkeypatch, plan, folder, flower):
    from cerviclip.federated import flower as module

    monkeypatch.setattr(module, "import_flower", lambda: flower)
    found = []

    def work():
        try:
            join_federation(plan, "east", folder, "localhost:1", None)
        except UserError as error:
            found.append(str(error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "the centre waits for weights that nobody sends"
    return found


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_centre_does_not_wait_for_a_federation_that_has_ended(
    plan, tmp_path, monkeypatch, rounds
):
    folder = tmp_path / "federated" / "east"
    (said,) = join(monkeypatch, plan, folder, PlayedFlower(rounds, last=False))
    assert "ended before its last round" in said
    assert not (folder / "results.json").exists()


def test_a_run_that_breaks_after_its_last_round_is_an_error(plan, tmp_path, monkeypatch):
    folder = tmp_path / "federated" / "east"
    assert join(monkeypatch, plan, folder, PlayedFlower(plan.rounds)) == []
    assert (folder / "results.json").exists()

    def broken(self):
        raise UserError("a test image is damaged")

    monkeypatch.setattr(CenterRun, "score", broken)
    told = join(monkeypatch, plan, tmp_path / "federated" / "again", PlayedFlower(plan.rounds))
    assert told == ["a test image is damaged"]


def test_a_federation_of_other_centres_is_not_taken_for_this_one(plan, tmp_path, monkeypatch):
    record = {"rounds": [], "bytes_up": 0, "bytes_down": 0, "encrypted": True}
    monkeypatch.setattr(command, "is_finished", lambda *_: True)
    for centers, done in ((["west", "east", "north"], True), (["east", "west"], False)):
        (tmp_path / command.RECORD).write_text(json.dumps(record | {"centers": centers}))
        assert command._federated_is_done(plan, tmp_path) == done


def test_what_is_lacking_is_told_before_anything_is_trained(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"a federation needs flwr: .*federated"):
        command.run_here(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_of_centres_that_share_a_data_set_have_names_of_their_own(plan, tmp_path):
    asked = [plan.request(site, tmp_path / "local" / site.name) for site in plan.centers]
    assert [one.variant for one in asked] == [f"local-{site.name}" for site in plan.centers]


def test_a_federation_of_one_is_an_ordinary_run(plan, tmp_path):
    site = plan.centers[0]
    out = tmp_path / "alone" / site.name
    alone = run_one(setup_cfg(plan.request(site, out)), variant="alone", echo=False)
    sent, joined = play(plan, site.name, tmp_path / "federated" / site.name)
    assert joined["centers"] == alone["centers"]
    assert (out / "predictions.csv").read_text() == (
        tmp_path / "federated" / site.name / "predictions.csv"
    ).read_text()
    assert len(sent) == 1 + plan.rounds
    assert joined["config_hash"] != alone["config_hash"]
    record = joined["runtime"]["trainer"]["federated"]
    arrays = sent[0][0]
    assert record["rounds"] == 2 and record["bytes_up"] == 3 * sum(a.nbytes for a in arrays)


def test_the_tested_weights_are_the_federations_last(plan, tmp_path):
    zeros = lambda n, own: [np.zeros_like(a) for a in own] if n == 2 else own  # noqa: E731
    _, joined = play(plan, "east", tmp_path / "federated" / "east", zeros)
    from cerviclip.runs.run.load import load_run

    trainer = load_run(tmp_path / "federated" / "east").trainer
    assert all(not value.any() for value in learnt_tensors(trainer).values())
    assert joined["status"] == "done"


def test_training_goes_on_from_the_common_weights(plan, tmp_path):
    """A step of zero length would give the common weights back."""
    shifted = []

    def shift(number, own):
        shifted.append([a + 1 for a in own])
        return shifted[-1]

    sent, _ = play(plan, "east", tmp_path / "federated" / "east", shift)
    for common, (own, *_rest) in zip(shifted, sent[1:], strict=False):
        moved = [np.abs(a - b).max() for a, b in zip(own, common, strict=True)]
        assert 0 < max(moved) < 0.9


def test_more_rounds_than_epochs_are_refused(write_plan, tmp_path):
    plan = read_plan(write_plan(rounds=9))
    turns, _ = start_run(plan, "east", tmp_path / "federated" / "east")
    with pytest.raises(UserError, match="9 rounds are more than the 4 epochs"):
        turns.take()


@pytest.mark.parametrize("trainer", ["TipAdapter", "TipAdapterF", "APE", "TransCLIP"])
def test_features_of_single_images_do_not_leave_a_centre(write_plan, tmp_path, trainer):
    """Those with one epoch could join for one round, and the last weights have the rows of all."""
    plan = read_plan(write_plan(trainer, rounds=1))
    turns, _ = start_run(plan, "east", tmp_path / "federated" / "east")
    with pytest.raises(UserError, match=f"{trainer} keeps the features of its training images"):
        turns.take()


def test_weights_of_another_model_are_refused(plan):
    from dassl.engine import build_trainer

    trainer = build_trainer(setup_cfg(plan.request(plan.centers[0], plan.path.parent / "x" / "y")))
    arrays = read_weights(trainer)
    set_weights(trainer, [a + 1 for a in arrays])
    assert all(np.array_equal(a + 1, b) for a, b in zip(arrays, read_weights(trainer), strict=True))
    with pytest.raises(UserError, match="do not fit this centre's model"):
        set_weights(trainer, arrays[:-1])
    arrays[-1][..., 0] = np.inf
    set_weights(trainer, arrays)
    with pytest.raises(UserError, match=r"training are not finite \("):
        read_weights(trainer)


def test_the_proximal_gradient_is_that_of_its_term():
    w = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    start = torch.tensor([0.5, 0.0, 1.0])
    loss = (w**3).sum()
    (loss + 0.35 * (w - start).square().sum()).backward()  # mu = 0.7
    wanted = w.grad.clone()
    w.grad = None
    (w**3).sum().backward()
    add_proximal_gradient([(w, start)], 0.7)
    torch.testing.assert_close(w.grad, wanted)


def test_fedprox_stays_nearer_to_the_common_weights(write_plan, tmp_path):
    def moved(lines, folder):
        plan = read_plan(write_plan(lines=lines, rounds=1))
        sent, _ = play(plan, "east", tmp_path / folder / "east")
        return sum(float(((a - b) ** 2).sum()) for a, b in zip(sent[0][0], sent[1][0], strict=True))

    far = moved("strategy: fedavg", "avg")
    near = moved("strategy: fedprox\nmu: 10.0", "prox")
    assert near < 0.8 * far
