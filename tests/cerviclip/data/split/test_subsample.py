"""Halves of the classes: base, new, and what cannot be halved."""

from __future__ import annotations

import pytest

from cerviclip.data.split.patient_grouped import Item
from cerviclip.data.split.subsample import classes_of_half, only_classes
from dassl.errors import UserError

FIVE = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("which", "taken", "aside"),
    [
        ("all", FIVE, []),
        ("base", ["a", "b", "c"], ["d", "e"]),
        ("new", ["d", "e"], ["a", "b", "c"]),
        ("base_to_new", ["a", "b", "c"], ["d", "e"]),
    ],
)
def test_base_is_the_first_half_rounded_up(which, taken, aside):
    assert classes_of_half(FIVE, which) == (taken, aside)


def test_four_classes_are_the_fewest_and_a_wrong_word_is_refused():
    assert classes_of_half(FIVE[:4], "base") == (["a", "b"], ["c", "d"])
    with pytest.raises(UserError, match=r"3 classes \(a, b, c\) do not make two halves"):
        classes_of_half(FIVE[:3], "new")
    with pytest.raises(UserError, match='SUBSAMPLE_CLASSES is "half"'):
        classes_of_half(FIVE, "half")


def test_labels_count_the_classes_that_are_taken():
    items = [Item(f"{name}/1.png", label, name, name) for label, name in enumerate(FIVE)]
    split = only_classes({"train": items, "val": [], "test": items[::-1]}, ["d", "e"])
    assert [(i.classname, i.label) for i in split["train"]] == [("d", 0), ("e", 1)]
    assert [(i.classname, i.label) for i in split["test"]] == [("e", 1), ("d", 0)]
    assert split["val"] == []
