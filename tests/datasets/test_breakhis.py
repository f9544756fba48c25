"""BreakHis in the release's tree, Kaggle's doubled root and the 400X copy."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from cases import DatasetCase
from PIL import Image
from yacs.config import CfgNode

from cerviclip.data.split.patient_grouped import patients_on_two_parts
from cerviclip.datasets.breakhis import BreakHis, picture_of
from dassl.data.datasets import build_dataset
from dassl.errors import UserError

# All slides of the release by type, as a public script lists them.
SLIDES = {
    "A": "14-22549AB 14-22549CD 14-22549G 14-29960CD",
    "F": "14-14134 14-14134E 14-21998CD 14-21998EF 14-23060AB 14-23060CD 14-23222AB 14-25197 "
    "14-29960AB 14-9133",
    "PT": "14-21998AB 14-22704 14-29315EF",
    "TA": "14-13200 14-15275 14-16184 14-16184CD 14-19854C 14-21978AB 14-3411F",
    "DC": "14-10926 14-11031 14-11520 14-11951 14-12312 14-13412 14-13993 14-14015 14-14926 "
    "14-14946 14-15572 14-15696 14-15792 14-16188 14-16336 14-16448 14-16601 14-16716 14-16875 "
    "14-17614 14-17901 14-17915 14-18650 14-20629 14-20636 14-2523 14-2773 14-2980 14-2985 14-3909 "
    "14-4364 14-4372 14-5287 14-5694 14-5695 14-6241 14-8168 14-9461",
    "LC": "14-12204 14-13412 14-15570 14-15570C 14-16196",
    "MC": "14-10147 14-12773 14-13413 14-13418DE 14-16456 14-18842 14-18842D 14-19979 14-19979C",
    "PC": "14-12465 14-15687B 14-15704 14-19440 14-9146 15-190EF",
}
FOLDERS = {
    "A": "benign/SOB/adenosis",
    "F": "benign/SOB/fibroadenoma",
    "PT": "benign/SOB/phyllodes_tumor",
    "TA": "benign/SOB/tubular_adenoma",
    "DC": "malignant/SOB/ductal_carcinoma",
    "LC": "malignant/SOB/lobular_carcinoma",
    "MC": "malignant/SOB/mucinous_carcinoma",
    "PC": "malignant/SOB/papillary_carcinoma",
}
MAGNIFICATIONS = (40, 100, 200, 400)


def write_breakhis(folder: Path, slides=SLIDES, magnifications=MAGNIFICATIONS) -> None:
    """One picture for each slide and magnification, in the release's tree and names.

    The folder writes ``_14-`` where the file writes ``-14-``; 14-13412 holds the same pictures as
    DC and as LC.
    """
    for kind, ids in slides.items():
        tumour = FOLDERS[kind][0].upper()
        for slide in ids.split():
            for magnification in magnifications:
                stem = f"SOB_{tumour}_{kind}"
                inner = f"{stem}_{slide}/{magnification}X/{stem}-{slide}-{magnification}-001.png"
                file = folder / "histology_slides/breast" / FOLDERS[kind] / inner
                file.parent.mkdir(parents=True)
                label = "both labels" if slide == "14-13412" else kind
                picture_for(f"{label} {slide} {magnification}").save(file)


def picture_for(name: str) -> Image.Image:
    """Another small picture for each name."""
    colours = hashlib.sha256(name.encode()).digest()
    return Image.frombytes("RGB", (5, 2), colours[:30])


CASE = DatasetCase("BreakHis", lambda root: write_breakhis(root / "BreaKHis_v1"))


@pytest.fixture
def breakhis(make_cfg, tmp_path):
    """``breakhis(LABELS="binary", ...)``: the data set with keys of its own."""

    def build(**keys):
        cfg = make_cfg(tmp_path, "BreakHis")
        cfg.DATASET.BREAKHIS = CfgNode(keys)
        return build_dataset(cfg)

    return build


def everything(data):
    return [*data.train_x, *(data.val or []), *data.test]


def test_eight_types_by_slide_over_all_magnifications(breakhis, tmp_path):
    write_breakhis(tmp_path / "BreaKHis_v1")
    data = breakhis()
    items = everything(data)
    assert data.classnames == list(BreakHis.classes)
    assert data.positive_classes == [
        "ductal_carcinoma", "lobular_carcinoma", "mucinous_carcinoma", "papillary_carcinoma",
    ]  # fmt: skip
    slides = {item.patient_id for item in items}
    assert len(slides) == 80 and {"14-22549AB", "15-190EF", "14-9133"} <= slides
    assert all(sum(i.patient_id == slide for i in items) == 4 for slide in slides)
    assert not patients_on_two_parts(data.full_split)


def test_the_slide_filed_twice(breakhis, tmp_path):
    write_breakhis(tmp_path / "BreaKHis_v1")
    told = "slide 14-13412, which is filed as DC and as LC"
    data = breakhis()
    assert not [item for item in everything(data) if "14-13412" in item.impath]
    assert any(told in line and "neither" in line and "8 images" in line for line in data.summary)
    binary = breakhis(LABELS="binary")
    kept = [item for item in everything(binary) if "14-13412" in item.impath]
    assert len(kept) == 4 and all("_DC-" in item.impath for item in kept)
    assert any(told in line and "read as DC" in line for line in binary.summary)
    assert len({item.patient_id for item in everything(binary)}) == 81
    lobular = everything(breakhis(TWICE_FILED="LC"))
    assert {i.classname for i in lobular if "14-13412" in i.impath} == {"lobular_carcinoma"}


def test_two_classes(breakhis, tmp_path):
    write_breakhis(tmp_path / "BreaKHis_v1")
    data = breakhis(LABELS="binary")
    counts = Counter(item.classname for item in everything(data))
    assert data.classnames == ["benign", "malignant"] and data.positive_classes == ["malignant"]
    assert counts == {"benign": 24 * 4, "malignant": 57 * 4}
    assert set(data.descriptions["structural"]) == {"benign", "malignant"}


@pytest.mark.parametrize("asked", ["400X", "400", "400x"])
def test_one_magnification(breakhis, tmp_path, asked):
    write_breakhis(tmp_path / "BreaKHis_v1")
    data = breakhis(MAGNIFICATION=asked)
    assert {Path(item.impath).parent.name for item in everything(data)} == {"400X"}
    assert any("left out by DATASET.BREAKHIS.MAGNIFICATION: 246" in line for line in data.summary)


def test_stems_join_slides_of_one_number(breakhis, tmp_path):
    write_breakhis(tmp_path / "BreaKHis_v1")
    data = breakhis(GROUP="stem", LABELS="binary")
    patients = {item.patient_id for item in everything(data)}
    assert len(patients) == 70 and "14-22549" in patients
    assert not patients_on_two_parts(data.full_split)


def test_a_key_that_is_no_word_of_ours(breakhis, tmp_path):
    write_breakhis(tmp_path / "BreaKHis_v1", {"A": "14-1A"})
    with pytest.raises(UserError, match="BREAKHIS.LABELS.*binray.*subtype, binary.*'binary'"):
        breakhis(LABELS="binray")


def write_400x(folder):
    """Kaggle's copy of the pictures at 400X: split by picture, slides in both parts."""
    for kind in ("A", "F", "DC", "MC"):
        for slide in SLIDES[kind].split()[:4]:
            for part in ("train", "test"):
                tumour = FOLDERS[kind].partition("/")[0]
                last = 1 if part == "train" else 2
                name = f"SOB_{tumour[0].upper()}_{kind}-{slide}-400-{last:03d}.png"
                file = folder / part / tumour / name
                file.parent.mkdir(parents=True, exist_ok=True)
                picture_for(name).save(file)


def test_kaggles_400x_copy_is_split_anew_by_slide(breakhis, tmp_path):
    write_400x(tmp_path / "BreaKHis 400X")
    data = breakhis(LABELS="binary")
    items = everything(data)
    assert len(items) == 32 and len({item.patient_id for item in items}) == 16
    assert not patients_on_two_parts(data.full_split)
    assert any("the test and train folders are not used" in line for line in data.summary)


def test_kaggles_doubled_root_and_copies_are_read_once(breakhis, tmp_path):
    write_breakhis(tmp_path / "BreaKHis_v1/BreaKHis_v1")
    write_400x(tmp_path / "BreaKHis_v1/400")
    data = breakhis(LABELS="binary", MAGNIFICATION="400X")
    items = everything(data)
    again = [i for i in items if "-400-001" in i.impath]
    assert len(again) == 81 and all("/400X/" in item.impath for item in again)
    assert any("a picture of the same name elsewhere: 16" in line for line in data.summary)


def test_names_that_are_not_breakhis(breakhis, tmp_path):
    write_breakhis(tmp_path / "BreaKHis_v1")
    Image.new("RGB", (8, 8)).save(tmp_path / "BreaKHis_v1/figure.png")
    assert any("not BreakHis's: 1 image " in line for line in breakhis().summary)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x/SOB_B_A-14-22549AB-40-001.png", ("A", "14-22549AB", "40", "001")),
        ("SOB_M_PC-15-190EF-400-010.jpg", ("PC", "15-190EF", "400", "010")),
        ("CNB_M_DC-14-2980-100-001.png", ("DC", "14-2980", "100", "001")),
        ("benign___SOB_B_A-14-22549AB-400-007_101.png", ("A", "14-22549AB", "400", "007")),
        ("SOB_B_XX-14-22549AB-400-007.png", None),
        ("SOB_B_A-14-22549AB-400-007-flipped.png", None),
        ("SOB_B_A_14-22549AB.png", None),
    ],
)
def test_what_a_name_says(name, told):
    found = picture_of(name)
    assert told == (found and (found.type, found.slide, found.magnification, found.number))
