"""External centres: our labels, their images, no class that the training does not know."""

from __future__ import annotations

import os
import shutil

import pytest
from data_fixtures import CLASSES, HERLEV_FOLDERS, write_herlev
from PIL import Image

from cerviclip.data.centers.external import _with_patients, build_external_datasets
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from dassl.errors import UnknownNameError, UserError
from helpers import write_images

NAME = "MixedCenterOCT"


@pytest.fixture
def centers(make_cfg, oct_root):
    def make(external=(), **options):
        cfg = make_cfg(oct_root, NAME, NUM_SHOTS=2, **options)
        cfg.TEST.EXTERNAL = tuple(external)
        cfg.freeze()
        return build_external_datasets(cfg, build_dataset(cfg))

    return make


def test_registered_centers_give_all_their_images(centers, oct_root):
    found = centers(["HuaxiOCT", "XiangyaOCT"])
    assert list(found) == ["HuaxiOCT", "XiangyaOCT"]
    assert [len(items) for items in found.values()] == [30, 30]
    for name, items in found.items():
        folder = name.removesuffix("OCT").lower()
        assert all(f"/{folder}/images/{item.classname}/" in item.impath for item in items)
        assert all(item.patient_id.startswith("P0") for item in items)
    assert centers() == {}


@pytest.mark.parametrize("known", [True, False])
def test_patients_of_a_centers_lists_come_before_the_trainings_pattern(known):
    """As of CBIS-DDSM, whose names need no pattern; what tells no patients takes the stated one."""

    class Listed:
        patient_pattern = ""

        def __init__(self, cfg):
            self.pattern = cfg.DATASET.PATIENT_PATTERN
            self.patients_known = known or bool(self.pattern)

    cfg = get_cfg_default()
    cfg.DATASET.PATIENT_PATTERN = "stem"
    assert _with_patients(Listed, cfg).pattern == ("" if known else "stem")


@pytest.mark.filterwarnings("ignore::UserWarning")  # few slides, and a split by image
def test_the_trainings_split_does_not_choose_the_images_of_a_center(make_cfg, oct_root):
    write_herlev(oct_root / "herlev")
    maps = {name: "cyst" for name in HERLEV_FOLDERS} | {"normal_superficial": "cyst"}
    found = []
    splits = [
        *({}, {"SPLIT_RATIO": (0.1, 0.1, 0.8)}, {"SPLIT_SEED": 7}, {"SPLIT_BY": "image"}),
        # Every file name has a "0", so all of Herlev would be one patient's.
        {"PATIENT_PATTERN": r"(0)"},
    ]
    for split in splits:
        cfg = make_cfg(oct_root, NAME, CLASS_MAP=maps, **split)
        cfg.TEST.EXTERNAL = ("Herlev",)
        items = build_external_datasets(cfg, build_dataset(cfg))["Herlev"]
        found.append([item.impath for item in items])
    own = build_dataset(make_cfg(oct_root, "Herlev")).test
    assert found == [[item.impath for item in own]] * len(splits)


def test_class_missing_at_a_center_is_fine_and_labels_stay_ours(centers, oct_root):
    shutil.rmtree(oct_root / "huaxi/images/cancer")
    items = centers(["HuaxiOCT"])["HuaxiOCT"]
    assert len(items) == 24
    assert {(item.label, item.classname) for item in items} == {
        (1, "cyst"),
        (2, "ectropion"),
        (3, "high-grade_squamous_intraepithelial_lesion"),
        (4, "mild_inflammation"),
    }


def test_unknown_class_at_a_center_is_named_and_can_be_mapped(centers, oct_root):
    (oct_root / "huaxi/images/cancer").rename(oct_root / "huaxi/images/carcinoma")
    with pytest.raises(UserError, match="carcinoma.*CLASS_MAP") as error:
        centers(["HuaxiOCT"])
    assert "\n" not in str(error.value)
    items = centers(["HuaxiOCT"], CLASS_MAP={"carcinoma": "cancer"})["HuaxiOCT"]
    assert sum(item.label == 0 for item in items) == 6
    assert len(centers(["HuaxiOCT"], CLASS_MAP={"carcinoma": ""})["HuaxiOCT"]) == 24


def test_fewer_classes_in_training_are_fewer_at_the_centers(centers):
    items = centers(["HuaxiOCT"], CLASSES=("cyst", "ectropion"))["HuaxiOCT"]
    assert {(item.label, item.classname) for item in items} == {(0, "cyst"), (1, "ectropion")}


def test_folder_of_a_registered_center_by_config(centers, oct_root):
    (oct_root / "huaxi").rename(oct_root / "renamed")
    folders = {"HuaxiOCT": "renamed/images"}
    assert len(centers(["HuaxiOCT"], EXTERNAL_FOLDERS=folders)["HuaxiOCT"]) == 30


def test_folders_as_centers(centers, oct_root, tmp_path):
    found = centers(
        EXTERNAL_FOLDERS={"clinic": "huaxi/images", "other": str(tmp_path / "xiangya/images")}
    )
    assert {name: len(items) for name, items in found.items()} == {"clinic": 30, "other": 30}
    assert {item.patient_id for item in found["clinic"]} >= {"P0100000"}


def test_folder_with_an_unknown_class(centers, oct_root):
    (oct_root / "huaxi/images/cancer").rename(oct_root / "huaxi/images/carcinoma")
    with pytest.raises(UserError, match='clinic has the class "carcinoma".*MixedCenterOCT'):
        centers(EXTERNAL_FOLDERS={"clinic": "huaxi/images"})


def test_classes_of_a_folder_are_mapped_once(centers, oct_root):
    """Two classes under each other's names: mapped twice they would be what they were."""
    swap = {"cyst": "ectropion", "ectropion": "cyst"}
    for name in ("HuaxiOCT", "clinic"):
        if name == "clinic":
            items = centers(EXTERNAL_FOLDERS={name: "huaxi/images"}, CLASS_MAP=swap)[name]
        else:
            items = centers([name], CLASS_MAP=swap)[name]
        for item in items:
            folder = os.path.basename(os.path.dirname(item.impath))
            assert item.classname == swap.get(folder, folder)
            assert item.label == CLASSES.index(item.classname)


def test_map_of_the_centers_leaves_the_training_as_it_is(make_cfg, tmp_path):
    for part in ("mine", "theirs"):
        images = {"a": 12, "b": 12}
        write_images(tmp_path / part, images, patients=6, size=8, seed=len(part))
    options = {"FOLDER": "mine", "PATIENT_PATTERN": r"(P\d{7})", "CLASS_MAP": {"a": "b", "b": "a"}}
    with pytest.raises(UserError, match='CLASS_MAP maps "a".*mine itself.*DATASET.CLASSES'):
        build_dataset(make_cfg(tmp_path, "FolderDataset", **options))
    cfg = make_cfg(tmp_path, "FolderDataset", CLASSES=("a", "b"), **options)
    cfg.DATASET.EXTERNAL_FOLDERS["clinic"] = "theirs"
    dataset = build_dataset(cfg)
    assert all(f"/{item.classname}/" in item.impath for item in dataset.train_x)
    items = build_external_datasets(cfg, dataset)["clinic"]
    assert all(f"/{item.classname}/" not in item.impath for item in items)


@pytest.mark.parametrize("kind", ["folder", "linked folder", "linked image", "copy", "one copy"])
def test_a_center_with_images_of_the_training_is_refused(centers, oct_root, kind):
    folder = oct_root / "mixed/images"
    if kind == "linked folder":
        (oct_root / "copy").symlink_to(folder)
        folder = oct_root / "copy"
    elif kind == "copy":
        folder = shutil.copytree(folder, oct_root / "copy")
    elif kind == "one copy":
        copied = next((folder / "cyst").iterdir())
        folder = oct_root / "xiangya/images"
        shutil.copyfile(copied, folder / "cyst/M0001_2021_P9000000_copied.png")
    elif kind != "folder":
        used = {item.name for item in (oct_root / "mixed/images/cyst").iterdir()}
        image = oct_root / "mixed/images/cyst" / min(used)
        folder = oct_root / "other/cyst"
        folder.mkdir(parents=True)
        (folder / image.name).symlink_to(image)
        folder = folder.parent
    with pytest.raises(UserError, match="clinic: .* belong to MixedCenterOCT") as error:
        centers(EXTERNAL_FOLDERS={"clinic": str(folder)})
    assert "\n" not in str(error.value)


def test_patients_named_as_the_trainings_are_warned_of(centers, oct_root):
    """Two hospitals may count their patients alike, so this is no error."""
    for folder in (oct_root / "huaxi/images").iterdir():
        for path in folder.iterdir():
            path.rename(path.with_name(path.name.replace("P01", "P00")))
    with pytest.warns(UserWarning, match=r"clinic shares 15 patient ids with .* P0000000\)"):
        found = centers(EXTERNAL_FOLDERS={"clinic": "huaxi/images"})
    assert len(found["clinic"]) == 30


def test_only_files_of_equal_size_are_read(centers, oct_root, monkeypatch):
    for path in (oct_root / "huaxi/images").rglob("*.png"):
        path.write_bytes(path.read_bytes() + b" ")
    monkeypatch.setattr("cerviclip.data.files.hashes.HashCache.sha256", None)
    sizes = {path.stat().st_size for path in (oct_root / "mixed/images").rglob("*.png")}
    other = {path.stat().st_size for path in (oct_root / "huaxi/images").rglob("*.png")}
    assert not sizes & other and len(centers(["HuaxiOCT"])["HuaxiOCT"]) == 30


def test_domains_found_by_the_same_key_are_no_external_centers(make_cfg, oct_root):
    (oct_root / "huaxi").rename(oct_root / "renamed")
    folders = {"huaxi": "renamed/images"}
    cfg = make_cfg(oct_root, "CervixOCTDomains", TARGET_DOMAINS=("huaxi",), NUM_SHOTS=2)
    cfg.DATASET.EXTERNAL_FOLDERS.update(folders)
    assert build_external_datasets(cfg, build_dataset(cfg)) == {}


def test_errors_call_a_center_as_the_user_does(centers, oct_root):
    with pytest.raises(UserError, match=r"EXTERNAL_FOLDERS\.clinic: there is no folder nowhere"):
        centers(EXTERNAL_FOLDERS={"clinic": "nowhere"})
    (oct_root / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no images.*EXTERNAL_FOLDERS\.clinic"):
        centers(EXTERNAL_FOLDERS={"clinic": "empty"})


def test_folder_whose_names_hold_no_patient_counts_images_and_warns(centers, oct_root):
    Image.new("L", (8, 8)).save(oct_root / "huaxi/images/cyst/one.png")
    with pytest.warns(UserWarning, match="clinic.*each image"):
        items = centers(EXTERNAL_FOLDERS={"clinic": "huaxi/images"})["clinic"]
    assert {item.patient_id for item in items} == {""} and len(items) == 31


def test_pattern_of_the_training_does_not_bind_a_registered_center(centers, oct_root):
    for path in list((oct_root / "mixed/images").rglob("*.png")):
        path.rename(path.with_name(path.name.replace("P0", "case0")))
    items = centers(["HuaxiOCT"], PATIENT_PATTERN=r"case(\d+)")["HuaxiOCT"]
    assert items[0].patient_id.startswith("P01")


def test_a_set_with_a_split_of_its_own_gives_its_test_part(make_cfg, oct_root):
    cfg = make_cfg(oct_root, "HuaxiOCT")
    training = build_dataset(cfg)
    cfg.TEST.EXTERNAL = (NAME,)
    items = build_external_datasets(cfg, training)[NAME]
    alone = build_dataset(make_cfg(oct_root, NAME))
    assert [item.impath for item in items] == [item.impath for item in alone.test]


def test_errors_of_naming(centers):
    with pytest.raises(UserError, match="the training itself"):
        centers([NAME])
    with pytest.raises(UnknownNameError, match="HuaxiOCT"):
        centers(["HuaxyOCT"])
    with pytest.raises(UserError, match='"test" is taken'):
        centers(EXTERNAL_FOLDERS={"test": "huaxi/images"})


def test_broken_image_at_a_center_is_found_before_training(centers, oct_root):
    path = next((oct_root / "huaxi/images/cyst").iterdir())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="truncated PNG"):
        centers(["HuaxiOCT"])


@pytest.fixture
def numbered(make_cfg, tmp_path):
    """Own classes 0 and 1, a centre with 0_normal and 1."""
    write_images(tmp_path / "own", {"0": 6, "1": 6}, size=8)
    write_images(tmp_path / "ext", {"0_normal": 4, "1": 4}, size=8, seed=1)

    def make(**class_map):
        cfg = make_cfg(tmp_path, "FolderDataset", FOLDER="own", PATIENT_PATTERN="stem")
        cfg.DATASET.EXTERNAL_FOLDERS["B"] = "ext"
        for key, value in class_map.items():
            cfg.DATASET.CLASS_MAP[key] = value
        return build_external_datasets(cfg, build_dataset(cfg))["B"]

    return make


@pytest.mark.filterwarnings("ignore:.*shares 4 patient ids")
@pytest.mark.parametrize("zero", ["0", 0])
def test_a_class_may_be_called_nought(numbered, zero):
    """Fault 5: mapped to 0, a centre's images vanished."""
    items = numbered(**{"0_normal": zero})
    assert sorted(item.classname for item in items) == ["0"] * 4 + ["1"] * 4
    with pytest.raises(UserError, match="CLASS_MAP maps to None"):
        numbered(**{"0_normal": None})


@pytest.mark.filterwarnings("ignore:.*shares 4 patient ids")
def test_a_mapped_name_that_nobody_has_is_pointed_out(numbered):
    with pytest.warns(UserWarning, match='CLASS_MAP has "0_nromal", which is no class of'):
        numbered(**{"0_normal": "0", "0_nromal": "0"})


def test_images_that_the_map_leaves_out_are_counted(make_cfg, oct_root, capsys):
    cfg = make_cfg(oct_root, NAME, CLASSES=("cyst", "ectropion"))
    cfg.DATASET.CLASS_MAP.update({name: "" for name in CLASSES if name not in cfg.DATASET.CLASSES})
    cfg.DATASET.EXTERNAL_FOLDERS["B"] = "huaxi/images"
    cfg.VERBOSE = True
    dataset = build_dataset(cfg)
    capsys.readouterr()
    assert len(build_external_datasets(cfg, dataset)["B"]) == 12
    assert "left out by DATASET.CLASS_MAP: 18 images" in capsys.readouterr().out


def test_a_center_of_parts_asks_for_one_of_them(centers, oct_root):
    """Fault 4, at a centre."""
    for part in ("train", "test"):
        shutil.copytree(oct_root / "huaxi/images", oct_root / "parts" / part)
    with pytest.raises(UserError, match="holds the parts of a split .test, train.*name one"):
        centers(EXTERNAL_FOLDERS={"B": "parts"})
    assert len(centers(EXTERNAL_FOLDERS={"B": "parts/test"})["B"]) == 30


def test_a_center_whose_class_is_not_read_is_refused(centers, oct_root):
    """Fault 13, at a centre: it was scored on the other classes."""
    folder = oct_root / "huaxi/images/cancer"
    for file in folder.iterdir():
        file.rename(file.with_suffix(".dcm"))
    with pytest.raises(UserError, match=r"cancer \(6 \.dcm\)"):
        centers(EXTERNAL_FOLDERS={"B": "huaxi/images"})
    assert len(centers(EXTERNAL_FOLDERS={"B": "huaxi/images"}, CLASS_MAP={"cancer": ""})["B"]) == 24


def test_a_center_of_the_trainings_pictures_saved_anew_is_refused(centers, oct_root):
    """Fault 9: bytes differ, pixels do not."""
    for file in sorted((oct_root / "mixed/images").rglob("*.png")):
        target = oct_root / "again" / file.parent.name / f"{file.stem}.bmp"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(target)
    with pytest.raises(UserError, match="belong to MixedCenterOCT"):
        centers(EXTERNAL_FOLDERS={"B": "again"})


def test_warnings_of_a_center_are_kept_with_the_trainings(make_cfg, oct_root):
    for file in (oct_root / "huaxi/images").rglob("*.png"):
        file.rename(file.with_name(f"{file.parent.name}_{file.name.replace('_P', '_Q')}"))
    cfg = make_cfg(oct_root, NAME)
    cfg.DATASET.EXTERNAL_FOLDERS["B"] = "huaxi/images"
    dataset = build_dataset(cfg)
    with pytest.warns(UserWarning, match="B: not all file names hold a patient"):
        build_external_datasets(cfg, dataset)
    assert any("B: not all file names" in text for text in dataset.warnings)


@pytest.mark.parametrize("external", ["MixedCenterOCT", "XiangyaOCT"])
def test_folds_of_the_training_leave_a_center_as_it_is(make_cfg, oct_root, external):
    """One of which only the test part is taken, and one that is tested on only."""

    def center(fold):
        options = {"FOLDER": "huaxi/images", "PATIENT_PATTERN": r"(P\d{7})", "FOLD": fold}
        cfg = make_cfg(oct_root, "FolderDataset", **options)
        cfg.TEST.EXTERNAL = (external,)
        dataset = build_dataset(cfg)
        assert str(dataset.fold or "") == fold
        items = build_external_datasets(cfg, dataset)[external]
        return [(item.impath, item.label) for item in items]

    assert center("2/3") == center("")
