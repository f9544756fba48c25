"""Own images whose folders and columns have names that could mean something else."""

from __future__ import annotations

import pytest
from data_fixtures import part_sizes

from dassl.errors import UserError
from helpers import write_images

NAME = "FolderDataset"
PATTERN = r"(P\d{7})"


@pytest.mark.parametrize(
    "names", [("TR1", "TR2", "TR3"), ("test1", "test2", "test3"), ("dev", "va", "other")]
)
def test_classes_whose_names_are_near_a_parts_are_classes(build, tmp_path, names):
    """Grades of TI-RADS were taken for three training parts and refused."""
    write_images(tmp_path, dict.fromkeys(names, 6), size=8)
    assert build(tmp_path, NAME, PATIENT_PATTERN="stem").classnames == sorted(names)


def test_grades_with_folders_of_patients_are_classes(build, tmp_path):
    for seed, name in enumerate(("TR1", "TR2")):
        for patient in range(3 * seed, 3 * seed + 3):
            write_images(tmp_path / name, {f"p{patient}": 2}, size=8, seed=patient)
    data = build(tmp_path, NAME, FOLDER=".", PATIENT_PATTERN=r"p(\d+)")
    assert data.classnames == ["TR1", "TR2"] and sum(part_sizes(data)) == 12


@pytest.mark.filterwarnings("ignore:.*nothing tells", "ignore:.*left out. lists")
def test_folders_without_images_beside_classes_with_parts_are_no_classes(build, tmp_path):
    for seed, name in enumerate(("a", "b")):
        write_images(tmp_path / name, {"train": 3, "test": 3}, size=8, seed=seed)
    (tmp_path / "lists").mkdir()  # neither a class nor a part
    (tmp_path / "lists" / "train.csv").write_text("path\n")
    assert part_sizes(build(tmp_path, NAME)) == [6, 0, 6]
    write_images(tmp_path / "a", {"extra": 3}, size=8, seed=7)
    with pytest.warns(UserWarning, match="read are the parts test, train; not a/extra"):
        assert part_sizes(build(tmp_path, NAME, FOLDER=".")) == [6, 0, 6]
    (tmp_path / "c").mkdir()  # meant as a class
    with (
        pytest.warns(UserWarning, match="not a/extra"),
        pytest.raises(UserError, match=r"left out: c \(empty\)"),
    ):
        build(tmp_path, NAME, FOLDER=".")
    write_images(tmp_path, {"c": 3}, size=8)
    with pytest.raises(UserError, match="parts of a split .* and c does not"):
        build(tmp_path, NAME, FOLDER=".")


def test_a_column_of_body_sides_is_no_split(build, folder):
    images = sorted((folder / "mine").rglob("*.png"))
    rows = [f"{p.relative_to(folder)},{p.parent.name},{'LR'[n % 2]}" for n, p in enumerate(images)]
    (folder / "list.csv").write_text("\n".join(["path,label,side", *rows]))
    data = build(folder, NAME, FILE=str(folder / "list.csv"), PATIENT_PATTERN=PATTERN)
    assert sum(part_sizes(data)) == 24 and data.split_record["by"] == "patient"


def test_a_table_with_tabs_may_begin_with_a_nameless_column(build, folder):
    """pandas' index: the tab before "path" was cut off, and each row had a cell too many."""
    images = sorted((folder / "mine").rglob("*.png"))
    rows = [f"{n}\t{p.relative_to(folder)}\t{p.parent.name}" for n, p in enumerate(images)]
    (folder / "list.tsv").write_text("\n".join(["\tpath\tlabel", *rows]))
    data = build(folder, NAME, FILE=str(folder / "list.tsv"), PATIENT_PATTERN=PATTERN)
    assert data.classnames == ["benign", "malign"] and sum(part_sizes(data)) == 24


def listed(folder, columns, *cells):
    """A list of the folder's images with further columns, whose cells come round."""
    images = sorted((folder / "mine").rglob("*.png"))
    rows = [
        f"{path.relative_to(folder)},{path.parent.name},{path.stem},{cells[n % len(cells)]}"
        for n, path in enumerate(images)
    ]
    file = folder / "list.csv"
    file.write_text("\n".join([f"path,label,patient,{columns}", *rows]))
    return file


@pytest.mark.parametrize(
    ("columns", "cells", "wanted"),
    [
        ("train,val,test", ("1,0,0", "0,1,0", "0,0,1"), [8, 8, 8]),
        ("train,val", ("1,0", "0,1", "0,0"), [8, 8, 8]),
        ("is_train", ("True", "False"), [12, 0, 12]),
        ("is_test", ("1.0", "0.0", "0.0"), [16, 0, 8]),
    ],
)
def test_columns_that_say_yes_or_no_of_a_part_are_taken_together_and_named(
    build, folder, columns, cells, wanted
):
    """With train, val and test beside each other, the images of val were tested on."""
    data = build(folder, NAME, FILE=str(listed(folder, columns, *cells)))
    assert part_sizes(data) == wanted and data.split_record["by"] == "list"
    assert any(f"{columns.replace(',', ', ')} give" in note for note in data.notes)


@pytest.mark.parametrize(
    ("cells", "told"),
    [(("1,1", "0,1", "1,0"), '"test" and "train"'), (("1,0", "0,0", "0,1"), "no part")],
)
def test_columns_of_parts_that_contradict_each_other_are_refused(build, folder, cells, told):
    with pytest.raises(UserError, match=f'is in {told} by the columns "train" and "test"; one of'):
        build(folder, NAME, FILE=str(listed(folder, "train,test", *cells)))


def test_a_column_of_parts_is_stronger_than_those_of_yes_and_no(build, folder):
    file = listed(folder, "split,test", "train,1", "test,0")
    assert part_sizes(build(folder, NAME, FILE=str(file))) == [12, 0, 12]
