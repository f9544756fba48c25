"""Steps and loaders of two processes over gloo give what one process gives; both end together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


def started(word: str) -> list[subprocess.Popen]:
    """Two processes of ``parallel_worker``, without torchrun to stop one for the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared["PYTHONPATH"] = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    return [
        subprocess.Popen(
            [sys.executable, "-m", "parallel_worker", word],
            env={**os.environ, **shared, "RANK": str(n), "LOCAL_RANK": str(n)},
            cwd=TESTS.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]


@pytest.fixture(scope="module")
def reports() -> list[dict]:
    workers = started("parts")
    answers = [worker.communicate(timeout=400) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], answers
    return [json.loads(output.splitlines()[-1]) for output, _ in answers]


@pytest.fixture(scope="module")
def alone() -> dict:
    from parallel_worker import parts

    return parts()


def test_a_loss_over_the_whole_batch_has_the_gradients_of_one_process(reports, alone):
    assert any(alone["contrastive"])
    for report in reports:
        assert report["contrastive"] == pytest.approx(alone["contrastive"], abs=1e-12)
        assert report["sum"] == pytest.approx(alone["sum"], abs=1e-12)


@pytest.mark.parametrize("what", ["gradients", "buffers", "eval"])
def test_batch_norms_see_the_whole_batch(reports, alone, what):
    for report in reports:
        if what == "eval":
            for got, wanted in zip(report["norms"][what], alone["norms"][what], strict=True):
                assert got == pytest.approx(wanted, abs=1e-10)
        else:
            assert report["norms"][what] == pytest.approx(alone["norms"][what], abs=1e-10)


def test_images_drawn_for_by_themselves_are_those_of_one_process(reports, alone):
    """Order, augmentation and what a step draws for each image; dropout moves none of them."""
    assert reports[0]["by image"] == reports[1]["by image"]
    without_dropout = [epoch[:2] + epoch[3:] for epoch in alone["by image"][:2]]
    assert [epoch[:2] + epoch[3:] for epoch in reports[0]["by image"][:2]] == without_dropout


def test_whole_batches_are_cut_in_the_order_of_one_process(reports, alone):
    assert reports[0]["by batch"] == reports[1]["by batch"]
    first = alone["by batch"][0]
    # The first batch is loaded before anything is dropped; in one process the next follows dropout.
    assert reports[0]["by batch"][0][:2] == first[:2]
    labels = [batch[0] for batch in reports[0]["by batch"] if isinstance(batch, list)]
    assert len(set(labels[0] + labels[1])) == 10, "an image was seen twice in an epoch"
    assert labels[0] != labels[2]


def test_every_image_of_a_test_comes_once_and_in_order(reports):
    for report in reports:
        assert report["tested"] == [list(range(9)), [0, 1, 2], [0]]
        assert report["length"] == 3


#: word -> what the one line says, and the exit statuses allowed
ENDS = {
    "a_users_error": ("process 2 of 2: no such folder; give another one", (1, 2)),
    "an_error_while_all_wait": ("process 2 of 2: disk on fire", (1, 1)),
    "the_first_ones_error": ("error: the first one cannot", (2, 1)),
    "killed": ("another process has ended or does not answer", (1, -9)),
    "killed_while_all_wait": ("another process has ended or does not answer", (1, -9)),
    "asleep": ("another process has ended or does not answer", (1, None)),
    "nan_of_one": ("Loss is infinite or NaN! (epoch 1, batch 5", (1, 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("word", ENDS)
def test_all_end_with_one_line(word):
    begun = time.monotonic()
    workers = started(word)
    try:
        output, errors = workers[0].communicate(timeout=400)
        if word == "asleep":
            workers[1].kill()
        errors += workers[1].communicate(timeout=60)[1]
    finally:
        for worker in workers:
            worker.kill()
    said, statuses = ENDS[word]
    lines = [line for line in errors.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and said in lines[0], errors
    assert "Traceback" not in errors and output == ""
    codes = [worker.returncode for worker in workers]
    assert all(w is None or c == w for c, w in zip(codes, statuses, strict=True)), codes
    assert time.monotonic() - begun < 400
