"""Mendeley LBC under the release's folder and file names, and under those of copies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from cases import DatasetCase
from PIL import Image

from dassl.errors import UserError

NAME = "MendeleyLBC"
# Folder, name of a file, groups.
CLASSES = {
    "NILM": ("Negative for Intraepithelial malignancy", "NL_{}_ ({}).jpg", 6),
    "LSIL": ("Low squamous intra-epithelial lesion", "LSIL_{} ({}).jpg", 4),
    "HSIL": ("High squamous intra-epithelial lesion", "HSIL_{} ({}).jpg", 5),
    "SCC": ("Squamous cell carcinoma", "scc_{} ({}).jpg", 4),
}


def write_release(root: Path) -> None:
    """Three fields of each group."""
    for c, (folder, name, groups) in enumerate(CLASSES.values()):
        (root / folder).mkdir(parents=True)
        for g in range(1, groups + 1):
            for i in range(1, 4):
                image = Image.new("RGB", (16, 12), (60 * c, 30 * g, 60 * i))
                image.save(root / folder / name.format(g, i))


CASE = DatasetCase(NAME, lambda root: write_release(root / "mendeley_lbc"))


def everything(data):
    return [*data.train_x, *data.val, *data.test]


def test_groups_of_the_release(build, tmp_path):
    write_release(tmp_path / "mendeley_lbc/Pap smear")
    data = build(tmp_path, NAME)
    assert data.classnames == list(CLASSES) and data.positive_classes == ["LSIL", "HSIL", "SCC"]
    counts = Counter(d.classname for d in everything(data))
    assert counts == {name: 3 * groups for name, (_, _, groups) in CLASSES.items()}
    groups = {d.patient_id for d in everything(data)}
    assert len(groups) == 19 and {"NL_6", "SCC_4"} < groups
    assert not data.warnings


def test_spellings_of_copies(build, tmp_path):
    folder = tmp_path / "mendeley_lbc"
    write_release(folder)
    (folder / CLASSES["NILM"][0]).rename(folder / "negative for intra-epithelial malignancy")
    (folder / CLASSES["HSIL"][0]).rename(folder / "High Squamous Intraepithelial Lesion")
    (folder / CLASSES["SCC"][0]).rename(folder / "SCC")
    for path in folder.rglob("scc_1 *"):
        path.rename(path.with_name(path.name.replace("scc", "SCC").replace(".jpg", ".JPEG")))
    data = build(tmp_path, NAME)
    assert len(everything(data)) == 57
    assert {d.patient_id for d in everything(data) if d.classname == "SCC"} == {
        f"SCC_{g}" for g in range(1, 5)
    }


def test_warped_copies_are_refused_or_left_out(build, tmp_path):
    folder = tmp_path / "mendeley_lbc"
    write_release(folder)
    for path in list((folder / "Squamous cell carcinoma").iterdir()):
        Image.new("RGB", (16, 12), 7).save(path.with_name(f"{path.stem}_0_4446.jpg"))
    with pytest.raises(UserError, match="12 of 69 .* warped copies .*LEAVE_OUT"):
        build(tmp_path, NAME)
    assert len(everything(build(tmp_path, NAME, LEAVE_OUT=("*)_*_*",)))) == 57
