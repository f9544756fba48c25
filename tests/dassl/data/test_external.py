"""External centres: our labels, their images, no class that the training does not know."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from dassl.data.datasets import build_dataset
from dassl.data.external import build_external_datasets
from dassl.errors import UnknownNameError, UserError

NAME = "MixedCenterOCT"


@pytest.fixture
def centres(make_cfg, oct_root):
    def make(external=(), **options):
        cfg = make_cfg(oct_root, NAME, NUM_SHOTS=2, **options)
        cfg.TEST.EXTERNAL = tuple(external)
        cfg.freeze()
        return build_external_datasets(cfg, build_dataset(cfg))

    return make


def test_registered_centres_give_all_their_images(centres, oct_root):
    found = centres(["HuaxiOCT", "XiangyaOCT"])
    assert list(found) == ["HuaxiOCT", "XiangyaOCT"]
    assert [len(items) for items in found.values()] == [30, 30]
    for name, items in found.items():
        folder = name.removesuffix("OCT").lower()
        assert all(f"/{folder}/images/{item.classname}/" in item.impath for item in items)
        assert all(item.patient_id.startswith("P0") for item in items)
    assert centres() == {}


def test_class_missing_at_a_centre_is_fine_and_labels_stay_ours(centres, oct_root):
    shutil.rmtree(oct_root / "huaxi/images/cancer")
    items = centres(["HuaxiOCT"])["HuaxiOCT"]
    assert len(items) == 24
    assert {(item.label, item.classname) for item in items} == {
        (1, "cyst"),
        (2, "ectropion"),
        (3, "high-grade_squamous_intraepithelial_lesion"),
        (4, "mild_inflammation"),
    }


def test_unknown_class_at_a_centre_is_named_and_can_be_mapped(centres, oct_root):
    (oct_root / "huaxi/images/cancer").rename(oct_root / "huaxi/images/carcinoma")
    with pytest.raises(UserError, match="carcinoma.*CLASS_MAP") as error:
        centres(["HuaxiOCT"])
    assert "\n" not in str(error.value)
    items = centres(["HuaxiOCT"], CLASS_MAP={"carcinoma": "cancer"})["HuaxiOCT"]
    assert sum(item.label == 0 for item in items) == 6
    assert len(centres(["HuaxiOCT"], CLASS_MAP={"carcinoma": ""})["HuaxiOCT"]) == 24


def test_fewer_classes_in_training_are_fewer_at_the_centres(centres):
    items = centres(["HuaxiOCT"], CLASSES=("cyst", "ectropion"))["HuaxiOCT"]
    assert {(item.label, item.classname) for item in items} == {(0, "cyst"), (1, "ectropion")}


def test_folder_of_a_registered_centre_by_config(centres, oct_root):
    (oct_root / "huaxi").rename(oct_root / "renamed")
    folders = {"HuaxiOCT": "renamed/images"}
    assert len(centres(["HuaxiOCT"], EXTERNAL_FOLDERS=folders)["HuaxiOCT"]) == 30


def test_folders_as_centres(centres, oct_root, tmp_path):
    found = centres(
        EXTERNAL_FOLDERS={"clinic": "huaxi/images", "other": str(tmp_path / "xiangya/images")}
    )
    assert {name: len(items) for name, items in found.items()} == {"clinic": 30, "other": 30}
    assert {item.patient_id for item in found["clinic"]} >= {"P0100000"}


def test_folder_with_an_unknown_class(centres, oct_root):
    (oct_root / "huaxi/images/cancer").rename(oct_root / "huaxi/images/carcinoma")
    with pytest.raises(UserError, match='clinic has the class "carcinoma".*MixedCenterOCT'):
        centres(EXTERNAL_FOLDERS={"clinic": "huaxi/images"})


def test_folder_whose_names_hold_no_patient_counts_images_and_warns(centres, oct_root):
    Image.new("L", (8, 8)).save(oct_root / "huaxi/images/cyst/one.png")
    with pytest.warns(UserWarning, match="clinic.*each image"):
        items = centres(EXTERNAL_FOLDERS={"clinic": "huaxi/images"})["clinic"]
    assert {item.patient_id for item in items} == {""} and len(items) == 31


def test_pattern_of_the_training_does_not_bind_a_registered_centre(centres, oct_root):
    for path in list((oct_root / "mixed/images").rglob("*.png")):
        path.rename(path.with_name(path.name.replace("P0", "case0")))
    items = centres(["HuaxiOCT"], PATIENT_PATTERN=r"case(\d+)")["HuaxiOCT"]
    assert items[0].patient_id.startswith("P01")


def test_a_set_with_a_split_of_its_own_gives_its_test_part(make_cfg, oct_root):
    cfg = make_cfg(oct_root, "HuaxiOCT")
    training = build_dataset(cfg)
    cfg.TEST.EXTERNAL = (NAME,)
    items = build_external_datasets(cfg, training)[NAME]
    alone = build_dataset(make_cfg(oct_root, NAME))
    assert [item.impath for item in items] == [item.impath for item in alone.test]


def test_errors_of_naming(centres):
    with pytest.raises(UserError, match="the training itself"):
        centres([NAME])
    with pytest.raises(UnknownNameError, match="HuaxiOCT"):
        centres(["HuaxyOCT"])
    with pytest.raises(UserError, match='"test" is taken'):
        centres(EXTERNAL_FOLDERS={"test": "huaxi/images"})


def test_broken_image_at_a_centre_is_found_before_training(centres, oct_root):
    path = next((oct_root / "huaxi/images/cyst").iterdir())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="truncated PNG"):
        centres(["HuaxiOCT"])
