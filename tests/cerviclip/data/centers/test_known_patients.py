"""Whether patients of a centre are among the training's: a count, or unknown with a reason."""

import shutil

import pytest
from data_fixtures import CLASSES

from cerviclip.data.centers.external import build_external_datasets
from cerviclip.data.centers.known_patients import shared_patients, without_patients
from cerviclip.data.flow import flow_of
from cerviclip.report.sentences.flow import leak_rows
from cerviclip.runs.results_shape import BLOCKS
from dassl.data.datasets import Datum, build_dataset

UNKNOWN = "clinic names no patients"


@pytest.mark.parametrize(
    ("ids", "training", "count", "reason"),
    [
        (["a", "b"], ["a", "c"], 1, None),
        (["a", "b"], ["c"], 0, None),
        (["", ""], ["c"], None, "B names no patients"),
        (["a"], ["", ""], None, "A names no patients"),
        (["a", ""], ["c"], None, "B names the patients of 1 of 2 images"),
        (["a", ""], ["a"], 1, None),  # found, however many are not known
        ([""], [""], None, "B names no patients; A names no patients"),
    ],
)
def test_none_found_is_a_finding_only_where_all_are_known(ids, training, count, reason):
    shared, told = shared_patients("B", ids, "A", training)
    assert told["shared_patient_ids"] == count and told.get("reason") == reason
    assert len(shared) == (count or 0)


@pytest.fixture
def listed(make_cfg, oct_root):
    """A training from a CSV with patients, beside a folder whose files name none."""
    lines = ["path,label,patient_id"]
    for file in sorted((oct_root / "mixed/images").rglob("*.png")):
        lines.append(f"{file},{file.parent.name},p{len(lines) // 2}")
    (oct_root / "list.csv").write_text("\n".join(lines) + "\n")
    for name in CLASSES:
        (oct_root / "clinic" / name).mkdir(parents=True)
        for n, file in enumerate(sorted((oct_root / "huaxi/images" / name).iterdir())):
            shutil.copy(file, oct_root / "clinic" / name / f"{name}{n}.png")
    cfg = make_cfg(oct_root, "FolderDataset", FILE=str(oct_root / "list.csv"))
    cfg.DATASET.EXTERNAL_FOLDERS["clinic"] = "clinic"
    return cfg


def test_a_centre_without_ids_is_unknown_and_warned_of(listed):
    dataset = build_dataset(listed)
    assert dataset.patients_known
    with pytest.warns(UserWarning, match="clinic: no patient ids; each image"):
        external = build_external_datasets(listed, dataset)
    assert any(text.startswith("clinic: no patient ids") for text in dataset.warnings)
    flow = flow_of(dataset, external)
    found = flow["leaks"]["centers"]["clinic"]
    assert found == {"images_of_training": 0, "shared_patient_ids": None, "reason": UNKNOWN}
    BLOCKS({"flow": flow}, "results")
    told = {what: number for place, what, number in leak_rows("A", flow) if place == "clinic"}
    assert told["patient ids that the training's data set has too"] == f"not known: {UNKNOWN}"
    assert told["images of the training's data set, copies included"] == "0"


def test_an_older_zero_is_read_and_not_believed(listed):
    dataset = build_dataset(listed)
    with pytest.warns(UserWarning, match="clinic"):
        flow = flow_of(dataset, build_external_datasets(listed, dataset))
    flow["leaks"]["centers"]["clinic"] = {"images_of_training": 0, "shared_patient_ids": 0}
    BLOCKS({"flow": flow}, "results")
    assert ("not known: clinic: no patient ids") in [row[2] for row in leak_rows("A", flow)]


def test_a_centre_is_warned_of_only_beside_a_training_that_has_patients(tmp_path):
    (tmp_path / "a.png").touch()
    items = [Datum(str(tmp_path / "a.png"), 0, 0, "x", patient) for patient in ("", "P1")]
    assert without_patients({"B": items}, ["", "P2"], ()) == []
    assert without_patients({"B": items[1:]}, ["P2"], ()) == []
    [text] = without_patients({"B": items}, ["P2"], ())
    assert "1 of 2 images have a patient id" in text
    [text] = without_patients({"B": items[:1]}, ["P2"], ["B"])
    assert "not all file names hold a patient" in text
