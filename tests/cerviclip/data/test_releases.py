"""What all releases share: where they are found, and when folders of parts are their split."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from cerviclip.data.releases import ReleasedDataset
from dassl.config import get_cfg_default
from dassl.errors import MissingFileError, UserError


class Cells(ReleasedDataset):
    homes = ("cells",)
    classes = ("benign", "high grade")
    spellings = {"high grade": ("HG",)}
    patient_pattern = r"^(\d+)_"


def build(root, **options):
    cfg = get_cfg_default()
    cfg.VERBOSE = False
    cfg.DATASET.ROOT = str(root)
    for key, value in options.items():
        cfg.DATASET[key] = value
    return Cells(cfg)


def write(root, part_of, folders=("benign", "High_Grade")) -> None:
    """Ten groups of two cells in each class; ``part_of(group, cell)`` names a cell's folder."""
    for c, folder in enumerate(folders):
        for g in range(10):
            for i in range(2):
                home = root / part_of(g, i) / folder
                home.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (99 * c, g, i)).save(home / f"{10 * c + g}_{i}.png")


def by_group(g, i):
    return ("train", "train", "val", "test")[g % 4]


@pytest.mark.parametrize("home", ["cells", "CELLS/a/b/c", ""])
@pytest.mark.parametrize("folders", [("benign", "HG"), ("Benign", "high-grade")])
def test_homes_and_spellings(tmp_path, home, folders):
    write(tmp_path / home, lambda g, i: "", folders)
    data = build(tmp_path)
    assert data.classnames == ["benign", "high grade"] and len(data.full_split["train"]) > 10
    assert build(tmp_path, FOLDER=home).split_hash == data.split_hash


def test_another_data_set_under_the_root_is_not_taken(tmp_path):
    write(tmp_path / "theirs", lambda g, i: "")
    with pytest.raises(MissingFileError, match=r"no Cells images in .*cells: .*benign"):
        build(tmp_path)


def test_parts_by_group_are_the_split(tmp_path):
    write(tmp_path / "cells", by_group)
    data = build(tmp_path)
    assert data.split_record["by"] == "folders" and not data.warnings
    assert {p.path.partition("/")[0] for p in data.full_split["val"]} == {"val"}
    with pytest.raises(UserError, match="FOLD is 1/3, but Cells takes its split"):
        build(tmp_path, FOLD="1/3")


def test_parts_that_groups_cross_are_put_together(tmp_path):
    write(tmp_path / "cells", lambda g, i: ("train", "test")[i])
    with pytest.warns(UserWarning, match="20 groups lie in several of its folders.*split anew"):
        data = build(tmp_path)
    assert data.split_record["by"] == "patient"
    with pytest.warns(UserWarning, match="split anew"):
        assert build(tmp_path, FOLD="1/3").split_hash != data.split_hash
    with pytest.warns(UserWarning, match="split by image"):
        assert len(build(tmp_path, SPLIT_BY="image").test) == 20


def test_a_split_file_goes_before_parts(tmp_path):
    write(tmp_path / "cells", by_group)
    paths = [p.path for part in build(tmp_path).full_split.values() for p in part]
    group = {path: int(path.rpartition("/")[2].split("_")[0]) for path in paths}
    parts = {s: [p for p in paths if group[p] % 2 == k] for k, s in enumerate(("train", "test"))}
    (tmp_path / "s.json").write_text(json.dumps(parts))
    data = build(tmp_path, SPLIT_FILE=str(tmp_path / "s.json"))
    assert data.split_record["by"] == "file" and len(data.test) == 20
