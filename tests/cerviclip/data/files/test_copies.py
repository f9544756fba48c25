"""Copies of images: found by content, kept in one part, counted where they are not."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from cerviclip.data.files.copies import as_they_were, groups_of_copies, joined, resaved_among
from cerviclip.data.split.patient_grouped import Item
from helpers import write_images

NAME = "FolderDataset"


@pytest.fixture
def copied(tmp_path):
    """Eight images a class, each with a copy; one lies in both classes."""
    write_images(tmp_path / "data", {"a": 8, "b": 8}, size=8)
    for name in ("a", "b"):
        for path in sorted((tmp_path / "data" / name).iterdir()):
            shutil.copy(path, path.with_name(f"copy_of_{path.name}"))
    shutil.copy(tmp_path / "data/a/img_000.png", tmp_path / "data/b/other.png")
    return tmp_path / "data"


def test_copies_are_grouped_by_bytes(copied):
    paths = sorted(p.relative_to(copied).as_posix() for p in copied.rglob("*.png"))
    groups = groups_of_copies(str(copied), [Item(p, 0, p[0], p) for p in paths])
    assert sorted(map(len, groups)) == [2] * 15 + [3]


def test_joined_items_split_together_and_keep_their_patients():
    items = [Item(name, 0, "c", name) for name in "abcd"]
    together = joined(items, [[items[0], items[2]], [items[2], items[3]]])
    assert [item.patient for item in together] == ["a", "b", "a", "a"]
    assert as_they_were({"train": together}, items) == {"train": items}
    assert joined(items, []) == items


@pytest.mark.filterwarnings("ignore:.*nothing tells", "ignore:.*are copies of another")
def test_copies_fall_on_one_part_and_are_counted(build, copied):
    """Fault 9."""
    with pytest.warns(UserWarning, match="1 image has several classes as copies"):
        data = build(copied, NAME)
    assert any("17 images are copies" in text for text in data.warnings)
    parts = {}
    for part, items in (("train", data.train_x), ("val", data.val), ("test", data.test)):
        for item in items:
            parts.setdefault(item.impath.replace("copy_of_", ""), set()).add(part)
    assert all(len(found) == 1 for found in parts.values())


@pytest.mark.filterwarnings("ignore:.*nothing tells", "ignore:.*are copies of another")
def test_a_test_that_is_a_copy_of_the_training_is_warned_of(build, tmp_path):
    for part in ("train", "test"):
        write_images(tmp_path / part, {"a": 3, "b": 3}, size=8)
    with pytest.warns(UserWarning, match="6 images lie in several parts.*was trained on"):
        build(tmp_path, NAME)


def test_pictures_saved_anew_are_known_by_their_pixels(tmp_path):
    originals = write_images(tmp_path / "mine", {"a": 3}, size=8)
    others = write_images(tmp_path / "other", {"a": 3}, size=8, seed=1)
    again = []
    for path in originals:
        again.append(tmp_path / f"{path.stem}.bmp")
        Image.open(path).save(again[-1])
    names = [str(path) for path in originals]
    assert resaved_among([str(p) for p in again], names) == [str(p) for p in again]
    assert resaved_among([str(p) for p in others], names) == []
