"""Two processes over gloo: what each sends arrives exactly; one process: nothing happens."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dassl.engine.trainer_base import TrainerBase
from dassl.errors import UserError
from dassl.utils import distributed

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reports() -> list[dict]:
    """What each of two processes saw; they run once for all tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared["PYTHONPATH"] = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "distributed_worker"],
            env={**os.environ, **shared, "RANK": str(n), "LOCAL_RANK": str(n)},
            cwd=TESTS.parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def test_each_knows_its_place(reports):
    assert [r["place"] for r in reports] == [[True, 0, 2, True, "cpu"], [True, 1, 2, False, "cpu"]]
    assert [r["after"] for r in reports] == [[0, 1], [0, 1]]


def test_objects_come_from_the_source_and_in_order(reports):
    for report in reports:
        assert report["broadcast"] == [{"seed": 0}, {"seed": 10}]
        assert report["objects"] == ["of 0", "of 1"]


def test_rows_of_any_number_come_back_in_order_once_each(reports):
    for report in reports:
        assert report["shares"] == [[0, 1, 2, 3, 4], [0], []]
        assert report["tensor"] == [[[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]], "torch.int64"]
        assert report["array"] == [[0.5, 1.5, 2.5], "float64"]
        assert report["empty"] == [[0, 3], "float32"]


def test_gradients_become_their_mean(reports):
    for report in reports:
        assert report["mean"] == [[2.0, 4.0], [1.5], [0.5, 0.5], None]
        # three images here and one there: (3 * 1 + 1 * 3) / 4 ...
        assert report["weighted"] == [[1.5, 3.0], [2.25], [0.25, 0.25], None]
        assert report["types"] == ["torch.float32", "torch.float16", "torch.float32", None]
        assert report["frozen"] == report["frozen_before"]


@pytest.mark.parametrize("step", ["plain", "prograd"])
def test_two_halves_of_a_batch_train_as_the_whole(reports, step):
    from distributed_worker import train  # the same code, in this one process

    whole = train(step, rows=range(7))
    for report in reports:
        assert report[step] == pytest.approx(whole, abs=1e-6)


def test_one_process_sends_nothing(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert not distributed.init_from_env()
    assert not torch.distributed.is_initialized()
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    rows, value = np.ones((3, 2)), object()
    assert distributed.gather_rows(rows) is rows
    assert distributed.broadcast_object(value) is value
    assert distributed.gather_objects(value) == [value]
    assert list(distributed.own_share(5)) == list(range(5))
    parameter = nn.Parameter(torch.ones(2))
    gradient = parameter.grad = torch.ones(2)
    distributed.average_gradients([parameter], share=0.5)
    assert parameter.grad is gradient and gradient.tolist() == [1, 1]
    distributed.wait_for_all()
    distributed.shut_down()


def test_torchrun_with_one_process_is_no_group(monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    assert not distributed.init_from_env()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "LOCAL_RANK"),
        ({"WORLD_SIZE": "two", "RANK": "0", "LOCAL_RANK": "0"}, "two"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "MASTER_ADDR"),
    ],
)
def test_an_incomplete_environment_is_one_line(monkeypatch, variables, said):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said) as caught:
        distributed.init_from_env()
    assert "torchrun" in str(caught.value) and "\n" not in str(caught.value)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    variables = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost"}
    for name, value in {**variables, "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="process 2 of this machine finds 1 GPUs"):
        distributed.init_from_env()


@pytest.mark.parametrize(
    ("available", "wanted", "type_"),
    [(True, True, "cuda"), (True, False, "cpu"), (False, True, "cpu")],
)
def test_device(monkeypatch, available, wanted, type_):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert distributed.choose_device(wanted) == torch.device(type_)


def test_an_optimizer_of_another_make_still_steps():
    """In one process nobody asks an optimiser for its parameters."""

    class Counter:
        steps = 0

        def step(self):
            self.steps += 1

    trainer = TrainerBase()
    trainer.register_model("m", nn.Linear(1, 1), Counter(), None)
    trainer.model_update()
    assert trainer._optims["m"].steps == 1
