"""Splits that cannot be trained on or tested on are refused before anything is trained."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cerviclip.data.split.checks import check_classes, check_filled, check_labels, warn_of_gaps
from cerviclip.data.split.patient_grouped import Item
from dassl.data.datasets import DatasetBase, Datum
from dassl.errors import UserError
from helpers import write_images

NAME = "FolderDataset"
pytestmark = pytest.mark.filterwarnings("ignore:.*nothing tells", "ignore:.*one patient's")


def test_all_images_of_one_patient(build, tmp_path):
    """Fault 21."""
    write_images(tmp_path, {"a": 6, "b": 6}, size=8)
    with pytest.raises(UserError, match="no test images: all 12 images are of patient img"):
        build(tmp_path, NAME, PATIENT_PATTERN="(img)_")


def test_one_image_a_class_one_class_and_no_share(build, tmp_path):
    write_images(tmp_path / "few", {"a": 1, "b": 1, "c": 1}, size=8)
    with pytest.raises(UserError, match="its 3 patients are all needed for training"):
        build(tmp_path / "few", NAME)
    write_images(tmp_path / "one", {"a": 6}, size=8)
    with pytest.raises(UserError, match=r'has 1 class \("a"\)'):
        build(tmp_path / "one", NAME)
    write_images(tmp_path / "two", {"a": 6, "b": 6}, size=8)
    with pytest.raises(UserError, match=r"SPLIT_RATIO \(1.0, 0.0, 0.0\) leaves none"):
        build(tmp_path / "two", NAME, SPLIT_RATIO=(1, 0, 0))
    data = build(tmp_path / "two", NAME, SPLIT_RATIO=(1, 0, 0), EXTERNAL_FOLDERS={"B": "x"})
    assert data.test == [] and len(data.train_x) == 12  # to be tested at B only


def test_only_a_trainer_without_training_does_without_training_images():
    split = {"train": [], "val": [], "test": [Item("a/1.png", 0, "a", "P1")]}
    check_filled("D", split, None, shots=0)
    for shots in (4, -1):
        with pytest.raises(UserError, match=r"D has no images to train on \(1 in test\)"):
            check_filled("D", split, None, shots)


def test_up_to_ten_classes_may_be_called_by_decimals_and_no_class_is_too_few():
    grades = [f"{grade}.5" for grade in range(11)]
    check_classes("D", grades[:10])
    with pytest.raises(UserError, match="D has 11 classes that are numbers, such as 0.5 and 1.5"):
        check_classes("D", grades)
    with pytest.raises(UserError, match="D has 0 class; training and scores need two"):
        check_classes("D", [])


@pytest.mark.parametrize("lacking", ["train", "test"])
def test_a_class_on_one_part_of_given_folders_is_named(build, tmp_path, lacking):
    """Fault 12."""
    for seed, part in enumerate(("train", "test")):
        classes = {"A": 3, "B": 3, **({} if part == lacking else {"C": 3})}
        write_images(tmp_path / part, classes, size=8, seed=seed)
    with pytest.warns(UserWarning, match=f"no images of C in {lacking}"):
        build(tmp_path, NAME)


def test_what_may_help_against_a_gap_depends_on_how_the_split_was_made():
    items = [Item(f"{name}.png", 0, name, name) for name in "ab"]
    lacking = {"train": items, "val": items[:1], "test": items[:1]}
    made = "D: no images of b in test, for want of patients; another DATASET.SPLIT_SEED or "
    assert warn_of_gaps("D", lacking, found=False) == [f"{made}SPLIT_RATIO may help"]
    in_folds = warn_of_gaps("D", lacking, found=False, in_folds=True)
    assert in_folds == [f"{made}fewer folds may help"]
    found = warn_of_gaps("D", lacking, found=True)
    assert [text.partition(",")[0] for text in found] == [
        "D: no images of b in val", "D: no images of b in test",
    ]  # fmt: skip
    assert found[1].endswith("test scores say nothing of them")
    [text] = warn_of_gaps("D", {"train": items[:1], "val": [], "test": items}, found=True)
    assert text.endswith("was never trained on")


def test_a_gap_in_the_labels_of_a_plain_data_set(tmp_path):
    """Fault 36."""
    paths = [str(p) for p in write_images(tmp_path, {"a": 1, "b": 1, "d": 1}, size=8)]
    train = [Datum(paths[0], 0, 0, "a"), Datum(paths[1], 1, 0, "b"), Datum(paths[2], 3, 0, "d")]
    with pytest.raises(UserError, match=r"label 2 has no training image \(labels 0, 1, 3\)"):
        check_labels(DatasetBase(train_x=train, test=train))
    check_labels(DatasetBase(train_x=train[:2], test=train[:2]))
    with pytest.raises(UserError, match="SimpleNamespace: label 2 has no training image"):
        check_labels(SimpleNamespace(train_x=train))  # one that tells no class names
    check_labels(SimpleNamespace(train_x=None))
