"""SIPaKMeD in the layouts of the release and of its copies, defects included."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from cases import DatasetCase
from PIL import Image

from dassl.errors import MissingFileError, UserError

NAME = "SIPaKMeD"
FOLDERS = (
    "im_Dyskeratotic",
    "im_Koilocytotic",
    "im_Metaplastic",
    "im_Parabasal",
    "im_Superficial-Intermediate",
)
CLUSTERS, CELLS = 8, 3  # of each class, of each cluster


def write_bmp(path: Path, *colour: int, size: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), colour).save(path)


def write_release(root: Path, folder: str = "{}", crops: str = "CROPPED/", fields=True) -> None:
    """Fields, crops and contours; numbers start anew in each class.

    Args:
        root: holds the class folders.
        folder: a class's folder, "{}/{}" as in Kaggle's copy.
        crops: the crops' folder below it.
        fields: write the cluster images too.
    """
    for c, name in enumerate(FOLDERS):
        home = root / folder.format(name, name)
        for n in range(1, CLUSTERS + 1):
            if fields:
                write_bmp(home / f"{n:03}.bmp", 40 * c, n, 200, size=16)
            for m in range(1, CELLS + 1):
                write_bmp(home / f"{crops}{n:03}_{m:02}.bmp", 40 * c, n, m)
                (home / f"{n:03}_cyt{m:02}.dat").write_text("1.0,2.0\n3.5,4.0\n")
                (home / f"{crops}{n:03}_{m:02}_cyt.dat").write_text("1.0,2.0\n")


CASE = DatasetCase(NAME, lambda root: write_release(root / "sipakmed"))


def everything(data):
    return [*data.train_x, *(data.val or []), *data.test]


def parts(data) -> list[set[str]]:
    return [{d.patient_id for d in part or []} for part in (data.train_x, data.val, data.test)]


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"folder": "{0}/{0}"},
        {"crops": ""},
        {"crops": "", "fields": False},
    ],
    ids=["original", "Kaggle", "flattened", "crops alone"],
)
@pytest.mark.parametrize("where", ["sipakmed", "SIPaKMeD/archive", ""])
def test_cells_of_every_layout(build, tmp_path, layout, where):
    write_release(tmp_path / where, **layout)
    data = build(tmp_path, NAME)
    counts = Counter(d.classname for d in everything(data))
    assert counts == {name.removeprefix("im_"): CLUSTERS * CELLS for name in FOLDERS}
    groups = Counter(d.patient_id for d in everything(data))
    assert len(groups) == 5 * CLUSTERS and set(groups.values()) == {CELLS}
    assert {"Dyskeratotic-001", "Parabasal-001"} < set(groups)
    assert not data.warnings and any("other files" in line for line in data.summary)


def test_a_cluster_and_its_cells_are_one_group(build, tmp_path):
    write_release(tmp_path / "sipakmed")
    clusters = build(tmp_path, NAME, SIPAKMED={"IMAGES": "clusters"})
    assert len(everything(clusters)) == 5 * CLUSTERS
    with pytest.warns(UserWarning, match="two levels"):
        both = build(tmp_path, NAME, SIPAKMED={"IMAGES": "both"})
    assert len(everything(both)) == 5 * CLUSTERS * (1 + CELLS)
    train, val, test = parts(both)
    assert not (train & val or train & test or val & test)
    assert set.union(train, val, test) == set.union(*parts(clusters))


def test_folder_names_as_people_spell_them(build, tmp_path):
    write_release(tmp_path / "sipakmed", crops="", fields=False)
    spelt = ("Dyskeratotic_flat", "im_Koilocytic", "im_Metaplasticimage", "parabasal")
    for before, after in zip(FOLDERS, spelt, strict=False):
        (tmp_path / "sipakmed" / before).rename(tmp_path / "sipakmed" / after)
    data = build(tmp_path, NAME)
    assert data.classnames == [name.removeprefix("im_") for name in FOLDERS]
    assert len(everything(data)) == 5 * CLUSTERS * CELLS


def write_parts(root: Path, part_of) -> None:
    """System E's train, val and test folders: ``part_of(cluster, cell)`` names a crop's part."""
    for c, name in enumerate(FOLDERS):
        for n in range(1, CLUSTERS + 1):
            for m in range(1, CELLS + 1):
                path = root / part_of(n, m) / name / f"{n:03}_{m:02}.bmp"
                write_bmp(path, 40 * c, n, m)


def test_parts_that_no_cluster_crosses_are_the_split(build, tmp_path):
    part = {7: "val", 8: "test"}
    write_parts(tmp_path / "sipakmed", lambda n, m: part.get(n, "train"))
    data = build(tmp_path, NAME)
    assert [len(part) for part in parts(data)] == [30, 5, 5] and not data.warnings
    assert data.split_record["by"] == "folders"


def test_parts_that_clusters_cross_are_split_anew(build, tmp_path):
    write_parts(tmp_path / "sipakmed", lambda n, m: ("train", "val", "test")[m - 1])
    with pytest.warns(UserWarning, match="40 clusters lie in several.*split anew"):
        data = build(tmp_path, NAME)
    train, val, test = parts(data)
    assert not (train & val or train & test or val & test)
    assert len(everything(data)) == 5 * CLUSTERS * CELLS
    with pytest.warns(UserWarning, match="split by image"):
        leaking = build(tmp_path, NAME, SPLIT_BY="image")
    assert all("/test/" in d.impath for d in leaking.test)
    assert leaking.split_record["by"] == "folders"


def test_cluster_images_in_parts_as_system_e_has_them(build, tmp_path):
    for c, name in enumerate(FOLDERS):
        for n in range(1, CLUSTERS + 1):
            part = {7: "val", 8: "test"}.get(n, "train")
            write_bmp(tmp_path / "sipakmed" / part / name / f"{n:03}.bmp", 40 * c, n, 0)
    with pytest.raises(UserError, match="no cells but 40 clusters.*IMAGES clusters"):
        build(tmp_path, NAME)
    data = build(tmp_path, NAME, SIPAKMED={"IMAGES": "clusters"})
    assert [len(part) for part in (data.train_x, data.val, data.test)] == [30, 5, 5]


def test_crops_both_in_their_folder_and_above_it_count_once(build, tmp_path):
    write_release(tmp_path / "sipakmed")
    write_release(tmp_path / "sipakmed", crops="")
    data = build(tmp_path, NAME)
    assert len(everything(data)) == 5 * CLUSTERS * CELLS
    assert any("second copy" in line for line in data.summary)
    write_bmp(tmp_path / "sipakmed/im_Parabasal/001_01.bmp", 9, 9, 9, size=9)
    with pytest.raises(UserError, match="two images called 001_01 of class Parabasal"):
        build(tmp_path, NAME)


def test_names_without_a_cluster_are_refused(build, tmp_path):
    write_release(tmp_path / "sipakmed")
    write_bmp(tmp_path / "sipakmed/im_Parabasal/CROPPED/cell_17_rotated.bmp", 9, 9, 9)
    with pytest.raises(UserError, match="1 of 121 file names.*cell_17_rotated.bmp"):
        build(tmp_path, NAME)


def test_nothing_there_and_a_wrong_kind(build, tmp_path):
    with pytest.raises(MissingFileError, match="sipakmed.*DATASET.ROOT"):
        build(tmp_path, NAME)
    write_release(tmp_path / "sipakmed")
    with pytest.raises(UserError, match="IMAGES.*cells, clusters, both"):
        build(tmp_path, NAME, SIPAKMED={"IMAGES": "fields"})
