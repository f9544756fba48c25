"""Review: nothing confirmed is lost, late presses meet no other picture, the export trains."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from cerviclip.app.review.agreement import agreement
from cerviclip.app.review.export import export
from cerviclip.app.review.journal import Journal, queue_folder, readers_of
from cerviclip.app.review.queue import ReviewQueue, by_uncertainty, in_random_order, uncertainty
from cerviclip.data.files.lists.reading import read_list_file
from dassl.errors import UserError

CLASSES = ("a", "b", "c")
IMAGES = [f"{i}.png" for i in range(6)]


@pytest.fixture
def queue(tmp_path):
    return ReviewQueue(IMAGES, CLASSES, Journal(tmp_path, "Ann"))


def again(queue):
    """As after a reload, or in another page."""
    return ReviewQueue(queue.images, queue.classnames, Journal(queue.journal.path.parent, "Ann"))


def test_every_decision_is_on_disk_at_once(queue):
    for number, image in enumerate(IMAGES[:4]):
        assert queue.label(image, CLASSES[number % 3])
        assert again(queue).current == IMAGES[number + 1] and again(queue).done == number + 1
    assert queue.undo() == "3.png"
    assert again(queue).current == "3.png"
    assert queue.flag("3.png") and again(queue).journal.decisions["3.png"].label == ""
    assert len(queue.journal.path.read_text().splitlines()) == 6  # the undone one stays on record


def test_a_late_second_press_is_not_taken_for_the_next_picture(queue):
    other = again(queue)  # a second window
    assert queue.label("0.png", "a") and not queue.label("0.png", "b")
    assert not other.accept("0.png", "c") and other.current == "1.png"
    assert not queue.flag("5.png") and not queue.flag("")
    with pytest.raises(UserError, match="none of the classes"):
        queue.label("1.png", "z")


def test_half_a_line_of_a_crash_costs_no_other_line(queue):
    queue.label("0.png", "a")
    with open(queue.journal.path, "a") as handle:
        handle.write('{"action": "label", "image": "1.png", "la')
    recovered = again(queue)
    assert recovered.current == "1.png"
    assert recovered.label("1.png", "b")
    assert {i: d.label for i, d in again(queue).journal.decisions.items()} == {
        "0.png": "a",
        "1.png": "b",
    }


READER = """
import sys
from cerviclip.app.review.journal import Journal
from cerviclip.app.review.queue import ReviewQueue

images = [f"{i}.png" for i in range(100_000)]
queue = ReviewQueue(images, ("a", "b", "c"), Journal(sys.argv[1], "Ann"))
for number, image in enumerate(images):
    assert queue.label(image, "abc"[number % 3])
    print(image, "abc"[number % 3], flush=True)
"""


@pytest.mark.parametrize("after", [1, 40])
def test_a_killed_review_has_all_that_it_confirmed(tmp_path, after):
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as reader:
        said = [reader.stdout.readline() for _ in range(after)]
        reader.kill()  # SIGKILL, in the middle of whatever it does
        said += reader.stdout.readlines()
    assert reader.returncode == -signal.SIGKILL
    confirmed = dict(line.split() for line in said if line.endswith("\n"))
    assert len(confirmed) >= after
    found = {i: d.label for i, d in Journal(tmp_path, "Ann").decisions.items()}
    assert confirmed.items() <= found.items() and len(found) <= len(confirmed) + 1
    queue = ReviewQueue([*found, "next.png"], CLASSES, Journal(tmp_path, "Ann"))
    assert queue.label("next.png", "b") and again(queue).current == ""


def test_a_foreign_line_is_named(queue):
    queue.journal.path.write_text('{"who": "?"}\n')
    with pytest.raises(UserError, match="line 1, is no line of a review"):
        again(queue)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 41])
def test_a_reader_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(UserError, match="reader's name"):
        Journal(tmp_path, name)


def test_other_classes_are_another_queue(tmp_path):
    places = {queue_folder(tmp_path, tmp_path / "x", c) for c in (CLASSES, CLASSES[:2])}
    assert len(places) == 2


def test_uncertainty_is_entropy():
    assert uncertainty([1, 0, 0]) == 0 and uncertainty([1 / 3] * 3) == pytest.approx(1)
    assert uncertainty([0.5, 0.5, 0]) == pytest.approx(np.log(2) / np.log(3))
    probs = {"0.png": (1.0, 0.0), "1.png": (0.5, 0.5), "2.png": (), "3.png": (0.8, 0.2)}
    assert by_uncertainty(list(probs), probs) == ["1.png", "3.png", "0.png", "2.png"]


def test_a_random_order_stays():
    one = in_random_order(IMAGES, "Ann")
    assert one == in_random_order(IMAGES[::-1], "Ann") != in_random_order(IMAGES, "Bob")
    assert sorted(one) == IMAGES


def two_readers(tmp_path, first, second):
    journals = [Journal(tmp_path, "Ann"), Journal(tmp_path, "Bob")]
    for journal, labels in zip(journals, (first, second), strict=True):
        for image, label in zip(IMAGES, labels, strict=True):
            journal.decide("label" if label else "flag", image, label=label)
    return journals


def test_kappa_by_hand(tmp_path):
    found = agreement(*two_readers(tmp_path, "aabbcc", ["a", "b", "b", "b", "c", ""]), CLASSES)
    # 5 pictures, 4 alike; by chance 2/5 * 1/5 + 2/5 * 3/5 + 1/5 * 1/5 = 9/25
    assert (found.both, found.same) == (5, 4)
    assert found.kappa == pytest.approx((4 / 5 - 9 / 25) / (1 - 9 / 25))
    assert found.differing == [("1.png", "a", "b")] and "1.png,a,b" in found.to_csv()
    assert readers_of(tmp_path) == ["Ann", "Bob"]


def test_kappa_of_one_class_is_not_defined(tmp_path):
    found = agreement(*two_readers(tmp_path, "aaaaaa", "aaaaaa"), CLASSES)
    assert found.kappa is None and "one and the same class" in found.reason


def test_the_export_is_read_back(tmp_path):
    journals = two_readers(tmp_path, "aabbcc", ["a", "b", "b", "b", "c", ""])
    made = export(journals, lambda path: f"P{path[0]}")
    assert (made.flagged, made.differing, made.rows) == (["5.png"], ["1.png"], 4)
    (tmp_path / "review.csv").write_text(made.text)
    entries = read_list_file(tmp_path / "review.csv")
    assert [(e.path, e.classname, e.patient) for e in entries] == [
        ("0.png", "a", "P0"),
        ("2.png", "b", "P2"),
        ("3.png", "b", "P3"),
        ("4.png", "c", "P4"),
    ]
    assert "patient" not in export(journals).text.splitlines()[0]
    assert json.loads(journals[0].path.read_text().splitlines()[0])["label"] == "a"
