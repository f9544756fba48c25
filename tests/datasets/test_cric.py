"""CRIC's list and fields, as released and as copies have them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from cases import DatasetCase
from PIL import Image, ImageDraw

from cerviclip.environment import cache_folder
from dassl.errors import MissingFileError, UserError

NAME = "CRIC"
LABELS = ("Negative for intraepithelial lesion", "ASC-US", "LSIL", "ASC-H", "HSIL", "SCC")
HEADER = "image_id image_filename image_doi cell_id bethesda_system nucleus_x nucleus_y".split()
FIELDS = 5


def rows() -> list[list]:
    """Each field holds a cell of each class, one of them at the border, the last one twice."""
    found = []
    for f in range(FIELDS):
        file = f"{f:032x}.png"
        for c, label in enumerate(LABELS):
            x, y = (4 if c == 0 else 200 * c + 10 * f), 100 + 150 * c
            found.append([400 + f, file, "10.6084/m9.figshare.0", 10 * f + c, label, x, y])
    return [*found, [*found[-1][:3], 999, *found[-1][4:]]]


def write_release(root: Path, x: float = 1, y: float = 1, size=(1376, 1020), inside="") -> None:
    """The list and its fields, whose nuclei lie at the list's points times (x, y)."""
    (root / inside).mkdir(parents=True, exist_ok=True)
    with (root / "classifications.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([HEADER, *rows()])
    for f in range(FIELDS):
        image = Image.new("L", size, 190 + f)
        draw = ImageDraw.Draw(image)
        for row in rows():
            if row[0] == 400 + f:
                u, v = row[5] * x, row[6] * y
                draw.ellipse((u - 7, v - 7, u + 7, v + 7), fill=40 + row[3] % 10)
        image.save(root / inside / f"{f:032x}.png", compress_level=1)


CASE = DatasetCase(NAME, lambda root: write_release(root / "cric"))


def everything(data):
    return [*data.train_x, *data.val, *data.test]


def size_of(datum) -> tuple[int, int]:
    with Image.open(datum.impath) as image:
        return image.size


def shows_its_nucleus(datum) -> bool:
    with Image.open(datum.impath) as image:
        return image.getpixel((image.width // 2, image.height // 2))[0] < 50


def test_cells_of_the_release(build, tmp_path):
    write_release(tmp_path / "cric", inside="images")
    data = build(tmp_path, NAME)
    assert Counter(d.classname for d in everything(data)) == dict.fromkeys(data.classnames, FIELDS)
    assert {d.patient_id for d in everything(data)} == {str(400 + f) for f in range(FIELDS)}
    assert all(map(shows_its_nucleus, everything(data)))
    assert set(map(size_of, everything(data))) == {(90, 90)}
    assert not data.warnings
    assert any("1 cells are listed twice" in line for line in data.summary)
    again = build(tmp_path, NAME)
    assert again.split_hash == data.split_hash and again.notes == data.notes
    wide = build(tmp_path, NAME, CRIC={"SIZE": 30})
    assert set(map(size_of, everything(wide))) == {(30, 30)}


def test_the_data_are_only_read(build, tmp_path):
    """So the folder's content, and a run's config_hash with it, stays what it was."""
    write_release(tmp_path / "cric")
    before = sorted(tmp_path.rglob("*"))
    data = build(tmp_path, NAME, FOLDER="cric")
    assert sorted(tmp_path.rglob("*")) == before
    assert data.split_record["train"][0]["path"].startswith("ASC-H/")


def test_json_in_place_of_the_csv(build, tmp_path):
    write_release(tmp_path / "cric")
    from_csv = build(tmp_path, NAME)
    images: dict = {}
    for row in rows():
        outer = dict(zip(("image_id", "image_name", "image_doi"), row, strict=False))
        image = images.setdefault(row[1], outer | {"classifications": []})
        image["classifications"].append(dict(zip(HEADER[3:], row[3:], strict=True)))
    (tmp_path / "cric/classifications.csv").unlink()
    text = json.dumps(list(images.values()))
    (tmp_path / "cric/classifications.json").write_text(text)
    names = [[Path(d.impath).name for d in everything(data)] for data in (from_csv,)]
    assert [[Path(d.impath).name for d in everything(build(tmp_path, NAME))]] == names


def test_resized_fields_are_noticed_and_their_points_scaled(build, tmp_path):
    write_release(tmp_path / "cric", x=0.92, y=0.925, size=(1280, 955))
    with pytest.warns(UserWarning, match=r"1280 px wide .* by 0\.9[12]\d and 0\.92"):
        data = build(tmp_path, NAME)
    assert all(map(shows_its_nucleus, everything(data)))
    with pytest.warns(UserWarning, match="1280 px wide"):
        build(tmp_path, NAME)  # said again of crops that are there


def test_points_of_other_pictures_are_refused(build, tmp_path):
    write_release(tmp_path / "cric", x=0.5, y=0.7)
    with pytest.raises(UserError, match="nuclei are not darker.*do not belong together"):
        build(tmp_path, NAME)
    assert not list(cache_folder().glob("unpacked/cric-*"))


def test_fields_that_are_not_there(build, tmp_path):
    write_release(tmp_path / "cric")
    (tmp_path / "cric" / f"{3:032x}.png").unlink()
    with pytest.warns(UserWarning, match="1 of 5 fields.*6 of 31 cells are left out"):
        data = build(tmp_path, NAME)
    assert len(everything(data)) == 6 * (FIELDS - 1)
    for path in (tmp_path / "cric").glob("*.png"):
        path.unlink()
    with pytest.raises(MissingFileError, match="none of the 5 fields"):
        build(tmp_path, NAME)


def test_no_list_and_another_list(build, tmp_path):
    with pytest.raises(MissingFileError, match="classifications.csv.*DATASET.ROOT"):
        build(tmp_path, NAME)
    write_release(tmp_path / "cric")
    (tmp_path / "cric/classifications.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no list of CRIC's cells.*nucleus_x"):
        build(tmp_path, NAME)
