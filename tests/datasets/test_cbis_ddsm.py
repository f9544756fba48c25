"""CBIS-DDSM: case lists with their defects, Kaggle's JPEG copy, the DICOM release."""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

import numpy as np
import pytest
from cases import DatasetCase
from PIL import Image
from yacs.config import CfgNode

from cerviclip.data.split.patient_grouped import patients_on_two_parts
from cerviclip.datasets.cbis_ddsm import Pictures, read_findings
from dassl.data.datasets import build_dataset
from dassl.errors import MissingFileError, UserError
from dassl.utils.images import decode_image

PATHOLOGY = ("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK")
#: Patients of each list; 5 is in a training and in a test list, 3 in two training lists.
PATIENTS = {
    ("mass", "train"): range(0, 12),
    ("mass", "test"): range(20, 26),
    ("calc", "train"): (3, *range(40, 50)),
    ("calc", "test"): (5, *range(60, 65)),
}
FULL, CROP = (96, 60), (20, 16)


def rows_of(lesion, part):
    """Rows of one list: patient 0 has two findings in one film."""
    for patient in PATIENTS[lesion, part]:
        for number in (1, 2) if patient == 0 else (1,):
            yield patient, number, PATHOLOGY[(patient + number - 1) % 3]


def uid(*parts) -> str:
    return f"1.3.6.1.4.1.9590.100.1.2.{zlib.crc32(repr(parts).encode())}"


def write_lists(folder: Path) -> None:
    """Four lists: a line break in a quoted path of every row, another column name in calc."""
    folder.mkdir(parents=True, exist_ok=True)
    for lesion, part in PATIENTS:
        density = "breast_density" if lesion == "mass" else "breast density"
        with open(folder / f"{lesion}_case_description_{part}_set.csv", "w", newline="") as opened:
            rows = csv.writer(opened)
            head = ["patient_id", density, "left or right breast", "image view", "abnormality id"]
            more = ["pathology", "image file path", "cropped image file path", "ROI mask file path"]
            rows.writerow([*head, "abnormality type", *more])
            for patient, number, pathology in rows_of(lesion, part):
                image, crop, mask = listed_paths(lesion, part, patient, number)
                broken = (crop, f"{mask}\n") if lesion == "mass" else (f"{crop}\n", mask)
                first = [f"P_{patient:05d}", 2, "LEFT", "CC", number, lesion]
                rows.writerow([*first, pathology, image, *broken])


def case_of(lesion, part, patient, number=None) -> str:
    name = f"{lesion.title()}-{'Training' if part == 'train' else 'Test'}_P_{patient:05d}_LEFT_CC"
    return name if number is None else f"{name}_{number}"


def listed_paths(lesion, part, patient, number):
    """In mass lists the crop is 000000, in calc lists the mask is."""
    film, case = case_of(lesion, part, patient), case_of(lesion, part, patient, number)
    crop, mask = ("000000", "000001") if lesion == "mass" else ("000001", "000000")
    series = f"{case}/{uid('study', case)}/{uid(case)}"
    return (f"{film}/{uid('study', film)}/{uid(film)}/000000.dcm", f"{series}/{crop}.dcm",
            f"{series}/{mask}.dcm")  # fmt: skip


def pixels(name, size, depth=np.uint8):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.integers(0, np.iinfo(depth).max, size[::-1], dtype=depth, endpoint=True)


def mask(size):
    array = np.zeros(size[::-1], np.uint8)
    array[10:20, 30:44] = 255
    return array


def all_findings():
    for lesion, part in PATIENTS:
        for patient, number, _ in rows_of(lesion, part):
            yield lesion, part, patient, number


def write_jpegs(folder: Path) -> None:
    """Kaggle's copy: lists in csv, numbered files in a series, crop and mask in either order."""
    write_lists(folder / "csv")
    for i, (lesion, part, patient, number) in enumerate(all_findings()):
        film, case = case_of(lesion, part, patient), case_of(lesion, part, patient, number)
        names = (f"1-{i:03d}.jpg", f"2-{i + 7:03d}.jpg")[:: 1 if i % 3 else -1]
        save(
            folder / f"jpeg/{uid(film)}/1-{zlib.crc32(film.encode()) % 900}.jpg", pixels(film, FULL)
        )
        # One crop is as large as its mask, and one mask smaller than its crop.
        crop, area = (FULL, FULL) if i == 4 else ((90, 60), (48, 32)) if i == 5 else (CROP, FULL)
        save(folder / f"jpeg/{uid(case)}/{names[0]}", pixels(case, crop))
        save(folder / f"jpeg/{uid(case)}/{names[1]}", mask(area))


def save(file, array):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file, quality=90)


CASE = DatasetCase("CBISDDSM", lambda root: write_jpegs(root / "CBIS-DDSM"))


@pytest.fixture
def cbis(make_cfg, tmp_path):
    """``cbis(IMAGE="full", ...)``: the data set with keys of its own."""

    def build(**keys):
        cfg = make_cfg(tmp_path, "CBISDDSM")
        cfg.DATASET.CBISDDSM = CfgNode(keys)
        return build_dataset(cfg)

    return build


def everything(data):
    return [*data.train_x, *data.val, *data.test]


def test_lists_are_read_over_their_line_breaks(tmp_path):
    write_lists(tmp_path)
    found = read_findings(tmp_path, ("mass", "calc"))
    assert len(found) == 36 and {f.lesion for f in found} == {"mass", "calc"}
    assert all(f.crop == f.crop.strip() and f.crop.endswith(".dcm") for f in found)
    assert found[0].pathology == "malignant" and found[0].patient == "P_00000"


def test_crops_are_told_from_masks_by_what_they_show(cbis, tmp_path):
    write_jpegs(tmp_path / "CBIS-DDSM")
    items = everything(cbis())
    assert len(items) == 36
    for item in items:
        assert 90 < np.asarray(decode_image(item.impath)).mean() < 165  # a mask's is near 0
    sizes = {decode_image(item.impath).size for item in items}
    assert sizes == {CROP, FULL, (90, 60)}


def test_a_patient_of_both_lesions_is_on_one_part(cbis, tmp_path):
    write_jpegs(tmp_path / "CBIS-DDSM")
    data = cbis()
    assert not patients_on_two_parts(data.full_split)
    tested = {item.patient_id for item in data.test}
    assert "P_00005" in tested and len(tested) == 12 and data.val
    assert len([i for i in data.test if i.patient_id == "P_00005"]) == 2
    assert any("1 patient is in a training list and in a test list" in x for x in data.summary)
    mass = cbis(LESION="mass")
    assert "P_00005" not in {item.patient_id for item in mass.test}
    assert not any("training list and in a test" in line for line in mass.summary)


def test_classes(cbis, tmp_path):
    write_jpegs(tmp_path / "CBIS-DDSM")
    assert cbis().classnames == ["benign", "malignant"]
    data = cbis(LABELS="pathology", SPLIT="ratio")
    assert data.classnames == ["benign", "benign_without_callback", "malignant"]
    assert data.positive_classes == ["malignant"] and data.split_record["by"] == "patient"


def test_whole_films_are_read_once_with_the_gravest_finding(cbis, tmp_path):
    write_jpegs(tmp_path / "CBIS-DDSM")
    items = everything(cbis(IMAGE="full"))
    assert len(items) == 33  # 36 findings: two in one film, two patients in two lists
    assert {decode_image(i.impath).size for i in items} == {FULL}
    assert [i.classname for i in items if i.patient_id == "P_00000"] == ["malignant"]


def test_a_download_in_part(cbis, tmp_path):
    write_jpegs(tmp_path / "CBIS-DDSM")
    case = case_of("mass", "train", 2, 1)
    for file in (tmp_path / "CBIS-DDSM/jpeg" / uid(case)).glob("*"):
        file.unlink()
    with pytest.warns(UserWarning, match="1 of 36 findings have no picture"):
        data = cbis()
    assert len(everything(data)) == 35
    assert any(f"left out by the copy, which lacks its file: 1 image (such as {case}/" in line
               for line in data.summary)  # fmt: skip


def test_what_is_refused(cbis, tmp_path):
    write_lists(tmp_path / "CBIS-DDSM")
    with pytest.raises(MissingFileError, match="neither jpeg.*nor .dcm"):
        cbis()
    (tmp_path / "CBIS-DDSM/calc_case_description_test_set.csv").unlink()
    with pytest.raises(MissingFileError, match="lacks calc_case_description_test_set.csv"):
        cbis()
    (tmp_path / "CBIS-DDSM/mass_case_description_train_set.csv").write_text("patient_id\nP_1\n")
    with pytest.raises(UserError, match="mass_case_description_train_set.csv lacks the column"):
        cbis()


def write_dicoms(folder: Path, dated: bool) -> None:
    """The archive's tree, by UIDs or, as newer downloads are, by dates."""
    pydicom = pytest.importorskip("pydicom")
    write_lists(folder)
    for lesion, part, patient, number in all_findings():
        image, crop, area = listed_paths(lesion, part, patient, number)
        case = case_of(lesion, part, patient, number)
        for path, array in (
            (image, pixels(image, FULL, np.uint16)),
            (area, mask(FULL)),
            (crop, pixels(case, CROP, np.uint16)),
        ):
            top, _, _, name = path.split("/")
            number = int(name[:6]) + 1
            dates = f"{top}/07-20-2016-DDSM-1/1.000000-images-2/1-{number}.dcm"
            file = folder / (dates if dated else path)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_dicom(pydicom, file, array, top)


def write_dicom(pydicom, file, array, top):
    header = pydicom.Dataset()
    header.PatientID = top  # not the patient
    header.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    header.SOPInstanceUID = pydicom.uid.generate_uid()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.Rows, header.Columns = array.shape
    header.SamplesPerPixel, header.PixelRepresentation = 1, 0
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8 * array.itemsize
    header.HighBit = header.BitsStored - 1
    header.PixelData = array.tobytes()
    header.save_as(file, enforce_file_format=True)


@pytest.mark.parametrize("dated", [False, True])
def test_dicom_files_become_pictures_of_their_depth(cbis, tmp_path, monkeypatch, dated):
    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path / "cache"))
    write_dicoms(tmp_path / "CBIS-DDSM", dated)
    data = cbis()
    items = everything(data)
    assert len(items) == 36 and not patients_on_two_parts(data.full_split)
    assert {item.patient_id for item in items} >= {"P_00000", "P_00064"}
    with Image.open(items[0].impath) as image:
        assert image.mode.startswith("I;16") and image.size == CROP
    path = data.split_record["train"][0]["path"]
    assert path.startswith(("Mass-Training_P_", "Calc-Training_P_")) and path.endswith(".png")


def test_files_are_found_by_series_and_else_by_case(tmp_path):
    for name in ("jpeg/1.2.3/1-001.jpg", "jpeg/1.2.4/1-001.jpg"):
        save(tmp_path / name, mask(FULL))
    pictures = Pictures(tmp_path)
    assert pictures.of("a/9/1.2.3/0.dcm", "a/9/1.2.4/0.dcm") == [
        "jpeg/1.2.3/1-001.jpg", "jpeg/1.2.4/1-001.jpg",
    ]  # fmt: skip
    assert pictures.of("a/9/1.2.5/0.dcm") == [] and pictures.is_mask("jpeg/1.2.3/1-001.jpg")
