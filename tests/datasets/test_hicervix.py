"""HiCervix's lists and folders, and its tree."""

from __future__ import annotations

import csv
import uuid
from collections import Counter
from pathlib import Path

import pytest
from cases import DatasetCase
from PIL import Image

from cerviclip import plugins
from dassl.errors import MissingFileError, UserError

NAME = "HiCervix"
COLUMNS = "image_name class_name class_id level_1 level_2 level_3".split()
PARTS = {"train": 3, "val": 1, "test": 2}  # images of each class


def kind():
    return plugins.ensure_loaded("dataset", NAME)


def write_release(root: Path, folder: str = "{}") -> None:
    """Three lists and their flat folders; names are UUIDs of version 3, as the release's are."""
    for number, (part, each) in enumerate(PARTS.items()):
        home = root / folder.format(part, part)
        home.mkdir(parents=True)
        rows = []
        for c, name in enumerate(kind().classes):
            for i in range(each):
                file = f"{uuid.uuid3(uuid.NAMESPACE_DNS, f'{part} {name} {i}')}.jpg"
                Image.new("RGB", (8, 8), (9 * c, 60 * number, 60 * i)).save(home / file)
                rows.append([file, name, c, *kind().levels[name]])
        with (root / f"{part}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([COLUMNS, *rows])


# Neither patient nor slide is known: each file is split as a patient of its own.
CASE = DatasetCase(NAME, lambda r: write_release(r / "hicervix"), {"PATIENT_PATTERN": "stem"})


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_the_tree_has_the_nodes_of_the_paper():
    nodes = [{path[k] for path in kind().levels.values()} - {""} for k in range(3)]
    assert [len(level) for level in nodes] == [4, 21, 4]  # 29 in all
    assert set(kind().levels) == set(kind().classes) and len(kind().classes) == 26
    assert kind().levels["AGC-ECC-NOS"] == ("AGC", "AGC-NOS", "AGC-ECC-NOS")
    assert kind().levels["AGC"] == ("AGC", "", "")


@pytest.mark.parametrize("folder", ["{}", "{}/{}"])
@pytest.mark.parametrize("where", ["hicervix", "HiCervix/dataset", ""])
def test_the_official_split_is_taken_and_said_to_be_unchecked(build, tmp_path, folder, where):
    write_release(tmp_path / where, folder)
    with pytest.warns(UserWarning, match="neither patient nor slide is published"):
        data = build(tmp_path, NAME)
    assert [len(part) for part in (data.train_x, data.val, data.test)] == [78, 26, 52]
    assert Counter(d.classname for d in data.test) == dict.fromkeys(data.classnames, 2)
    assert data.split_record["by"] == "folders" and {d.patient_id for d in data.test} == {""}
    assert "ASC-US" in data.positive_classes and "HCG" not in data.positive_classes


@pytest.mark.filterwarnings("ignore:.*neither patient")
def test_the_tree_is_that_of_the_classes_in_use(build, tmp_path):
    write_release(tmp_path / "hicervix")
    assert build(tmp_path, NAME).levels == kind().levels
    data = build(tmp_path, NAME, CLASSES=("HSV", "ADC", "ADC-EMC"))
    assert list(data.levels.items()) == [
        ("HSV", ("microbe", "HSV", "")),
        ("ADC", ("AGC", "ADC", "")),
        ("ADC-EMC", ("AGC", "ADC", "ADC-EMC")),
    ]
    merged = {"ADC": "gland", "ADC-EMC": "gland"}
    data = build(tmp_path, NAME, CLASSES=("HSV", "gland"), CLASS_MAP=merged)
    assert data.levels == {}  # a class of one's own is in no tree, and in no set of descriptions
    assert data.descriptions == {}
    assert any('descriptions are not used: they know no class "gland"' in n for n in data.notes)


@pytest.mark.filterwarnings("ignore:.*neither patient")
def test_lists_and_folders_that_do_not_agree(build, tmp_path):
    write_release(tmp_path / "hicervix")
    first = next(iter((tmp_path / "hicervix/test").iterdir()))
    first.rename(first.with_name("00.jpg"))
    with pytest.warns(UserWarning, match="1 of 52 images .*(not there|not named)") as said:
        data = build(tmp_path, NAME)
    assert len(data.test) == 51
    texts = " ".join(str(w.message) for w in said)
    assert "not there" in texts and "00.jpg" in texts


@pytest.mark.filterwarnings("ignore:.*neither patient")
def test_levels_that_are_not_the_trees_are_refused(build, tmp_path):
    write_release(tmp_path / "hicervix")
    rewrite(tmp_path / "hicervix/val.csv", "microbe,FUNGI", "microbe,ACTINO")
    with pytest.raises(UserError, match=r'val.csv puts .* under "FUNGI" \(microbe, ACTINO\)'):
        build(tmp_path, NAME)
    rewrite(tmp_path / "hicervix/val.csv", "microbe,ACTINO", "microbe, FUNGI ")  # blanks
    rewrite(tmp_path / "hicervix/val.csv", "image_name", "\ufeffimage_name")
    assert len(build(tmp_path, NAME).val) == 26
    rewrite(tmp_path / "hicervix/val.csv", "level_3", "deepest")
    with pytest.raises(UserError, match="val.csv has no column level_3"):
        build(tmp_path, NAME)


def test_nothing_there(build, tmp_path):
    with pytest.raises(MissingFileError, match="hicervix.*DATASET.ROOT"):
        build(tmp_path, NAME)
