"""Own images by config alone: which folder below the root is the data set, and what lies there."""

from __future__ import annotations

import pytest
from data_fixtures import OWN_CLASSES, part_sizes

from dassl.errors import UserError
from helpers import write_images

NAME = "FolderDataset"
PATTERN = r"(P\d{7})"


def write_two_hospitals(root, inner=""):
    for seed, name in enumerate(("hospital_b", "my_images")):
        write_images(root / name / inner, OWN_CLASSES, patients=6, size=8, seed=seed)


@pytest.mark.parametrize("inner", ["", "images", "train"])
def test_data_sets_below_the_root_are_no_classes(build, tmp_path, inner):
    write_two_hospitals(tmp_path, inner)
    with pytest.raises(UserError, match=r"data sets and not classes.*benign.*DATASET.FOLDER hosp"):
        build(tmp_path, NAME, PATIENT_PATTERN=PATTERN)
    folder = f"my_images/{inner}".rstrip("/")
    data = build(tmp_path, NAME, PATIENT_PATTERN=PATTERN, FOLDER=folder)
    assert data.classnames == ["benign", "malign"]


def test_one_data_set_beside_a_class_is_one_too_many(build, tmp_path):
    write_images(tmp_path, {"notes": 6}, patients=6, size=8)
    write_images(tmp_path / "my_images", OWN_CLASSES, patients=6, size=8, seed=1)
    with pytest.raises(UserError, match="DATASET.FOLDER my_images"):
        build(tmp_path, NAME, PATIENT_PATTERN=PATTERN)


@pytest.mark.filterwarnings("ignore:.*hold the same folders")
def test_who_names_the_root_or_its_classes_means_it(build, tmp_path):
    write_two_hospitals(tmp_path)
    for options in ({"FOLDER": "."}, {"CLASSES": ("hospital_b", "my_images")}):
        data = build(tmp_path, NAME, PATIENT_PATTERN=PATTERN, **options)
        assert data.classnames == ["hospital_b", "my_images"] and sum(part_sizes(data)) == 48


@pytest.mark.filterwarnings("ignore:.*hold the same folders")
def test_folders_of_patients_and_of_masks_make_no_data_set(build, tmp_path):
    """Inside a class folder there may be a folder for each patient, which the pattern finds."""
    for seed, name in enumerate(("benign", "malign")):
        patients_of = {f"case{seed}{n}": 3 for n in range(5)}
        write_images(tmp_path / name, patients_of, size=8, seed=seed)
    data = build(tmp_path, NAME, PATIENT_PATTERN=r"(case\d+)")
    assert data.classnames == ["benign", "malign"] and sum(part_sizes(data)) == 30
    with pytest.raises(UserError, match=r"DATASET.FOLDER \. if benign, malign are the classes"):
        build(tmp_path, NAME, PATIENT_PATTERN="stem")
    for seed, name in enumerate(("a", "b")):
        write_images(tmp_path / "other" / name, {"img": 12, "masks": 12}, size=8, seed=seed)
    with pytest.warns(UserWarning, match="look like masks"):
        data = build(tmp_path / "other", NAME, PATIENT_PATTERN="stem")
    assert data.classnames == ["a", "b"]


@pytest.mark.parametrize("out", ["mine/out", "mine", "mine/benign/deep/er"])
def test_a_run_is_not_written_among_its_images(folder, out):
    """Its figures were a class of the next run, or kept it from finding patients."""
    from cerviclip.plugins import ensure_loaded
    from dassl.config import get_cfg_default
    from dassl.data.datasets import build_dataset

    ensure_loaded("dataset", NAME)
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.FOLDER = NAME, str(folder), "mine"
    cfg.DATASET.PATIENT_PATTERN, cfg.OUTPUT_DIR = PATTERN, str(folder / out)
    with pytest.raises(UserError, match="next run would read its figures as images; choose"):
        build_dataset(cfg)
    cfg.OUTPUT_DIR = str(folder / "mine_out")
    assert build_dataset(cfg).classnames == ["benign", "malign"]


@pytest.mark.filterwarnings("ignore:.*nothing tells whose images", "ignore:.*no images of")
def test_measured_values_are_no_classes(build, folder):
    """The error was that all patients were needed for training."""
    images = sorted((folder / "mine").rglob("*.png"))
    rows = [f"{path.relative_to(folder / 'mine')},{n / 7:.3f}" for n, path in enumerate(images)]
    (folder / "mine" / "list.csv").write_text("\n".join(["path,label", *rows]))
    with pytest.raises(UserError, match="classes that are numbers, such as 0.143 .* few classes"):
        build(folder, NAME, FOLDER="mine", FILE="mine/list.csv")
    grades = [row.rpartition(",")[0] + f",{1 + n % 3 / 2}" for n, row in enumerate(rows)]
    (folder / "mine" / "list.csv").write_text("\n".join(["path,label", *grades]))
    assert len(build(folder, NAME, FOLDER="mine", FILE="mine/list.csv").classnames) == 3
