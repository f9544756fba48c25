"""IARC's colposcopies as the public repository lays them out: a folder for each case, two lists."""

from __future__ import annotations

import csv
import hashlib

import pytest
from cases import DatasetCase
from PIL import Image
from yacs.config import CfgNode

from dassl.data.datasets import build_dataset
from dassl.errors import UserError

NAME = "IARCColposcopy"
COLUMNS = (
    "case_number case_id age hpv_status histopathology_diagnosis swede_score num_images".split()
)
STEPS = (
    "1_After_normal_saline.jpg",
    "2_After_normal_saline_with_green_filter.jpg",
    "3_After_acetic_acid.jpg",
    "4_After_acetic_acid_with_green_filter.jpg",
    "5_After_acetic_acid_with_higher_magnification.jpg",
    "6_After_acetic_acid_with_endocervical_speculum.jpg",
    "7_After_Lugols_iodine.jpg",
)
VULVA = ("1_Vulva_before_acetic_acid.jpg", "2_After_acetic_acid_with_green_filter.jpg")
GRADES = {"high": ("AAH", "HSIL-CIN3."), "low": ("AAL", "LSIL-CIN1.")}


def write_atlas(root, cases=5, odd=True):
    """Cases of all steps; an odd one, high-grade, has the vulva and a green filter alone."""
    for grade, (letters, histology) in GRADES.items():
        rows = []
        for number in range(cases):
            case = f"{letters}{chr(65 + number)}"
            last = odd and grade == "high" and number == cases - 1
            steps = VULVA if last else STEPS
            folder = root / f"images_{grade}_grade/case_{case}"
            folder.mkdir(parents=True)
            (folder / "metadata.txt").write_text(f"Case ID: {case}\n")
            for step in steps:
                colours = hashlib.sha256(f"{case}{step}".encode()).digest()[:24]
                Image.frombytes("RGB", (4, 2), colours).save(folder / step)
            says = (
                "Cervical histopathology was invasive squamous cell cancer." if last else histology
            )
            swede = "Not possible (Iodine uptake missing)" if number % 2 else "9"
            rows.append([number + 1, case, 30 + number, "Positive", says, swede, len(steps)])
        with (root / f"colposcopy_cases_{grade}_grade.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([COLUMNS, *rows])


CASE = DatasetCase(NAME, lambda root: write_atlas(root / "iarc", odd=False))


def everything(data):
    return [*data.train_x, *(data.val or []), *data.test]


@pytest.fixture
def atlas(make_cfg, tmp_path):
    write_atlas(tmp_path / "iarc")

    def build(images):
        cfg = make_cfg(tmp_path, NAME)
        cfg.DATASET.IARC = CfgNode({"IMAGES": images})
        return build_dataset(cfg)

    return build


@pytest.mark.filterwarnings("ignore:.*have no picture of the step", "ignore:.*has no picture")
@pytest.mark.parametrize(
    ("images", "each", "cases"), [("acetic", 2, 9), ("saline", 1, 9), ("Iodine", 1, 9)]
)
def test_a_step_of_the_examination(atlas, images, each, cases):
    data = atlas(images)
    names = {d.impath.rpartition("/")[2] for d in everything(data)}
    assert len(everything(data)) == each * cases and len(names) == each
    assert all(images.casefold()[:5] in name.casefold() for name in names) or images == "Iodine"
    assert not any("green" in name or "speculum" in name for name in names)
    assert {d.patient_id[:3] for d in everything(data)} == {"AAH", "AAL"}
    assert data.classnames == ["low-grade", "high-grade"]
    assert data.positive_classes == ["high-grade"]


def test_all_steps_but_the_vulva(atlas):
    data = atlas("all")
    assert len(everything(data)) == 9 * len(STEPS) + 1
    assert not data.warnings
    with pytest.raises(UserError, match='IARC.IMAGES is "acid"; it takes acetic'):
        atlas("acid")


def test_a_case_without_a_picture_of_the_step_is_said(atlas):
    with pytest.warns(UserWarning, match="no picture of the step acetic .such as AAHE"):
        data = atlas("acetic")
    assert len({d.patient_id for d in everything(data)}) == 9


def test_lists_that_disagree(atlas, tmp_path):
    file = tmp_path / "iarc/colposcopy_cases_low_grade.csv"
    (tmp_path / "iarc/images_low_grade/case_AALB/1_After_normal_saline.jpg").unlink()
    lines = file.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace("LSIL-CIN1", "HSIL-CIN2")
    file.write_text("".join(lines[:-1]))
    with pytest.warns(UserWarning, match="colposcopy_cases_low") as said:
        atlas("all")
    texts = [str(w.message).partition(": ")[2] for w in said]
    assert texts == [
        "1 of 4 cases have other numbers of pictures than it says (such as AALB: 6 instead of 7)",
        "1 cases are not named in it (such as AALE)",
        "the histology of 1 cases is not low-grade (such as AALA: HSIL-CIN2.); the folder is taken "
        "as their class",
    ]
    file.write_text("case,images\n")
    with pytest.raises(UserError, match="has no column case_id"):
        atlas("all")
