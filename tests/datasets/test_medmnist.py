"""MedMNIST's .npz files: arrays become pictures, the release's parts are the split."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DatasetCase
from yacs.config import CfgNode

from cerviclip.data.split.patient_grouped import PARTS
from cerviclip.datasets.medmnist import CLASSES
from dassl.data.datasets import build_dataset
from dassl.errors import MissingFileError, UserError
from dassl.utils.images import decode_image

COUNTS = {"train": 6, "val": 2, "test": 3}  # of each class


def write_npz(root, name="bloodmnist", size=28, channels=(3,), columns=1, seed=0) -> None:
    """A file of the release: six arrays of bytes, labels in a column of their own, mixed order."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for part in PARTS:
        labels = np.repeat(np.arange(len(CLASSES.get(name, range(3)))), COUNTS[part])
        labels = rng.permutation(labels).astype(np.uint8)
        arrays[f"{part}_labels"] = np.stack([labels] * columns, axis=1)
        shape = (len(labels), size, size, *channels)
        arrays[f"{part}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
    root.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(root / (f"{name}.npz" if size == 28 else f"{name}_{size}.npz"), **arrays)


def write_two(root):
    write_npz(root / "medmnist")


# BloodMNIST's yaml asks for 224 px.
SMALL = {"PATIENT_PATTERN": "stem", "MEDMNIST": {"SIZE": 28}}
CASE = tuple(DatasetCase(name, write_two, SMALL) for name in ("MedMNIST", "BloodMNIST"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def medmnist(make_cfg, tmp_path):
    """``medmnist(SET="pathmnist", ...)``."""

    def build(options=None, **keys):
        cfg = make_cfg(tmp_path, "MedMNIST", **(options or {}))
        cfg.DATASET.MEDMNIST = CfgNode(keys)
        with pytest.warns(UserWarning, match="nothing tells whose images these are"):
            return build_dataset(cfg)

    return build


def test_pixels_labels_and_parts_are_those_of_the_arrays(medmnist, tmp_path):
    write_npz(tmp_path / "medmnist", "pathmnist")
    data = medmnist(SET="pathmnist")
    assert [len(data.train_x), len(data.val), len(data.test)] == [54, 18, 27]
    assert data.templates == ["a histopathology image of {}."] and data.num_classes == 9
    with np.load(tmp_path / "medmnist/pathmnist.npz") as arrays:
        for item in data.test:
            index = int(item.impath.rpartition("/")[2][:-4])
            assert item.label == arrays["test_labels"][index, 0]
            assert np.array_equal(decode_image(item.impath), arrays["test_images"][index])
    assert data.split_record["by"] == "release"
    assert all(row["path"].startswith("test/") for row in data.split_record["test"])


def test_grey_pictures_of_a_larger_size(medmnist, tmp_path):
    write_npz(tmp_path, "breastmnist", 64, channels=())
    data = medmnist(SET="breastmnist", SIZE=64)
    assert decode_image(data.test[0].impath).size == (64, 64)
    assert data.positive_classes == ["malignant"]


def test_pictures_are_unpacked_once_and_another_file_does_not_meet_them(medmnist, tmp_path, cache):
    write_npz(tmp_path)
    first = medmnist()
    files = sorted(cache.glob("unpacked/*/*/*/*.png"))
    dates = [file.stat().st_mtime_ns for file in files]
    files[3].unlink()
    files[5].write_bytes(b"")  # cut off by a full disk
    again = medmnist()
    assert again.split_hash == first.split_hash
    same = [f.stat().st_mtime_ns == d for f, d in zip(files, dates, strict=True)]
    assert len(files) == 88 and same.count(False) == 2
    write_npz(tmp_path, seed=1)
    medmnist()
    assert len(list(cache.glob("unpacked/*"))) == 2


def test_a_split_file_comes_before_the_releases_split(medmnist, tmp_path):
    import json

    write_npz(tmp_path)
    record = dict(medmnist().split_record)
    record["train"], record["test"] = record["test"], record["train"]
    (tmp_path / "mine.json").write_text(json.dumps(record))
    swapped = medmnist({"SPLIT_FILE": str(tmp_path / "mine.json")})
    assert [len(swapped.train_x), len(swapped.test)] == [24, 48]


@pytest.mark.parametrize(
    ("written", "keys", "told"),
    [
        ({}, {"SET": "bloodmnist", "SIZE": 64}, "no bloodmnist_64.npz at.*MEDMNIST.SIZE"),
        ({}, {"SET": "bloodmist"}, "MEDMNIST.SET is \"bloodmist\".*'bloodmnist'"),
        ({}, {"SET": "organmnist3d"}, "MEDMNIST.SET"),
        ({"columns": 14}, {}, "several labels"),
        ({"channels": (28,)}, {}, "volumes are not read"),
    ],
)
def test_what_is_refused(make_cfg, tmp_path, written, keys, told):
    write_npz(tmp_path, **written)
    cfg = make_cfg(tmp_path, "MedMNIST")
    cfg.DATASET.MEDMNIST = CfgNode(keys)
    with pytest.raises((UserError, MissingFileError), match=told):
        build_dataset(cfg)


def test_a_file_that_was_cut_off(make_cfg, tmp_path):
    write_npz(tmp_path)
    file = tmp_path / "bloodmnist.npz"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(UserError, match="bloodmnist.npz is no MedMNIST file.*download it again"):
        build_dataset(make_cfg(tmp_path, "BloodMNIST"))


def change(root, **arrays) -> None:
    """Write a set of two classes with some of its arrays changed by functions."""
    write_npz(root, "pneumoniamnist")
    file = root / "pneumoniamnist.npz"
    with np.load(file) as old:
        found = {name: arrays.get(name, lambda a: a)(old[name]) for name in old.files}
    np.savez_compressed(file, **found)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"train_labels": lambda a: a.astype(int) - 1}, "the label -1 in train.*from 0 to 1"),
        ({"test_labels": lambda a: a + 0.5}, "the label [01].5 in test"),
        ({"val_labels": lambda a: a.astype(str)}, "the label '[01]' in val"),
        ({"train_labels": lambda a: np.where(a == 1, np.nan, a)}, "the label nan in train"),
        ({"train_labels": lambda a: a[:5]}, "pictures of train and 5 labels"),
        ({"test_images": lambda a: a[:5]}, "5 pictures of test and"),
    ],
)
def test_labels_that_are_none_are_refused(make_cfg, tmp_path, arrays, told):
    """-1 was the last class, 0.5 the class 0, and pictures without a label were left out."""
    change(tmp_path, **arrays)
    cfg = make_cfg(tmp_path, "MedMNIST")
    cfg.DATASET.MEDMNIST = CfgNode({"SET": "pneumoniamnist"})
    with pytest.raises(UserError, match=told) as refused:
        build_dataset(cfg)
    assert "is no MedMNIST file" not in str(refused.value)


def test_labels_without_a_column_of_their_own(medmnist, tmp_path):
    change(tmp_path, **{f"{part}_labels": lambda a: a[:, 0].astype(float) for part in PARTS})
    data = medmnist(SET="pneumoniamnist")
    assert len(data.train_x) == 2 * COUNTS["train"]
