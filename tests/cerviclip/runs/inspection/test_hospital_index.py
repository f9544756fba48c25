"""A probe for hospitals, on features in which what they tell is planted."""

from dataclasses import dataclass

import numpy as np
import pytest

from cerviclip.runs.inspection.hospital_figure import hospital_figure
from cerviclip.runs.inspection.hospital_index import (
    CenterImages,
    equal_draw,
    gather,
    hospital_index,
    out_of_fold,
)
from cerviclip.tools.hospital_index import table_of
from dassl.errors import UserError

HOSPITALS, CLASSES = ("north", "south", "west"), ("low", "high")


def make_images(patients=20, each=4, shares=(0.2, 0.5, 0.8), seed=0):
    """Hospitals whose share of class ``high`` differs; patients of one class each."""
    rng = np.random.default_rng(seed)
    hospital = np.repeat(np.arange(3), patients * each)
    number = np.repeat(np.arange(3 * patients), each)
    of_patient = np.concatenate([np.arange(patients) < share * patients for share in shares])
    label = of_patient[number].astype(int)
    ids = [f"{HOSPITALS[h]}/P{n}" for h, n in zip(hospital, number, strict=True)]
    paths = [f"{i}.png" for i in range(len(ids))]
    images = CenterImages(paths, hospital, label, ids, HOSPITALS, CLASSES)
    return images, number, rng


def test_features_of_the_hospital_tell_it():
    images, _, rng = make_images()
    features = 3 * np.eye(3)[images.hospital] + rng.normal(0, 0.5, (len(images.paths), 3))
    found = hospital_index(features, images)
    assert found["chance"] == pytest.approx(100 / 3)
    assert found["index"]["value"] > 0.9
    cell = found["balanced_accuracy"]
    assert cell["low"] < cell["value"] <= cell["high"] <= 100
    assert set(found["per_class"]) == set(CLASSES)


def test_features_of_the_class_tell_no_hospital_though_their_shares_differ():
    images, _, rng = make_images()
    features = 3 * np.eye(2)[images.label] + rng.normal(0, 0.5, (len(images.paths), 2))
    cell = hospital_index(features, images)["balanced_accuracy"]
    assert cell["low"] < 100 / 3 < cell["high"]


def test_features_of_the_patient_tell_no_hospital():
    images, number, rng = make_images()
    features = rng.normal(0, 1, (60, 30))[number]
    cell = hospital_index(features, images)["balanced_accuracy"]
    assert cell["low"] < 100 / 3 < cell["high"]


def test_a_class_has_as_many_images_from_each_hospital():
    images, _, _ = make_images()
    chosen = equal_draw(images)
    counts = [
        [((images.hospital[chosen] == k) & (images.label[chosen] == c)).sum() for k in range(3)]
        for c in range(2)
    ]
    assert counts == [[16] * 3, [16] * 3]
    assert (equal_draw(images) == chosen).all()
    assert (equal_draw(images, seed=2) != chosen).any()


def test_a_hospital_of_one_patient_is_refused():
    hospital = np.array([0, 0, 1, 1])
    with pytest.raises(UserError, match="one patient alone"):
        out_of_fold(np.eye(4), hospital, hospital * 0, ["a", "b", "c", "c"])


@dataclass
class Image:
    impath: str
    classname: str
    patient_id: str


class Data:
    def __init__(self, classnames, count=2):
        self.classnames = classnames
        made = [Image(f"{c}{i}", c, f"P{i}") for c in classnames for i in range(count)]
        self.train_x, self.val, self.test = made[:1], None, made[1:]


def test_classes_that_all_hospitals_have_are_taken():
    images = gather({"one": Data(["a", "b", "c"]), "two": Data(["c", "b"])})
    assert images.classes == ("b", "c")
    assert len(images.paths) == 8
    assert images.patients[0] == "one/P0" and images.patients[-1] == "two/P1"


def test_hospitals_without_a_common_class_are_refused():
    with pytest.raises(UserError, match="no class is in all"):
        gather({"one": Data(["a"]), "two": Data(["b"])})
    with pytest.raises(UserError, match="two data sets or more"):
        gather({"one": Data(["a"])})


def test_table_and_figure(tmp_path):
    images, _, rng = make_images(patients=6)
    found = {}
    for name, scale in (("plain", 0.0), ("telling", 5.0)):
        features = rng.normal(0, 1, (len(images.paths), 3)) + scale * np.eye(3)[images.hospital]
        found[name] = hospital_index(features, images, folds=2)
    text = table_of(found)
    assert "| telling | " in text and "33.3" in text
    hospital_figure(found, HOSPITALS, tmp_path / "h.png")
    assert (tmp_path / "h.png").stat().st_size > 5000
