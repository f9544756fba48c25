"""ComparisonDetector's crops under the repository's folders of numbers, with its defects."""

from __future__ import annotations

import hashlib

import pytest
from cases import DatasetCase
from PIL import Image

from dassl.errors import MissingFileError, UserError

NAME = "ComparisonDetector"
# As the release spells them, in the order of its folders 1 to 11.
LABELS = "ascus asch lsil hsil scc agc trichomonas candida flora herps actinomyces".split()


def write_release(root, each=6, unlisted=0):
    """Crops of odd sizes whose numbers run through all folders; a picture of the README; a list
    that lacks the first ``unlisted`` crops."""
    rows = []
    for c, label in enumerate(LABELS, start=1):
        (root / f"images/{c}").mkdir(parents=True)
        for i in range(each):
            number = 100 * c + i
            colours = hashlib.sha256(str(number).encode()).digest()[:24]
            Image.frombytes("RGB", (4, 2), colours).save(root / f"images/{c}/{number}.jpg")
            rows.append(f"{number}\t{label}")
    (root / "images/README").mkdir()
    Image.new("RGB", (4, 4)).save(root / "images/README/orig.jpg")
    (root / "images/README/readme.md").write_text("\n")
    (root / "labels.tsv").write_text("\n".join(["Index\tLabel", *rows[unlisted:]]) + "\n")


# Neither patient nor slide is known: each file is split as a patient of its own.
CASE = DatasetCase(
    NAME, lambda r: write_release(r / "comparison_detector"), {"PATIENT_PATTERN": "stem"}
)


def everything(data):
    return [*data.train_x, *data.val, *data.test]


@pytest.mark.parametrize("where", ["ComparisonDetector", ""])
def test_numbers_are_classes_and_the_readmes_picture_is_none(build, tmp_path, where):
    write_release(tmp_path / where)
    with pytest.warns(UserWarning, match="neither patient nor slide is published") as said:
        data = build(tmp_path, NAME)
    assert len(said) == 1
    assert data.num_classes == 11 and len(everything(data)) == 66
    folders = {d.impath.split("/")[-2]: d.classname for d in everything(data)}
    assert folders["1"] == "ASC-US" and folders["10"] == "herpes"
    assert data.positive_classes == ["ASC-US", "ASC-H", "LSIL", "HSIL", "SCC", "AGC"]
    assert any("README: 1 image " in line for line in data.summary)


@pytest.mark.filterwarnings("ignore:.*neither patient")
def test_a_list_that_lacks_crops_and_one_that_contradicts(build, tmp_path):
    folder = tmp_path / "comparison_detector"
    write_release(folder, unlisted=2)
    with pytest.warns(UserWarning, match="2 crops are not named;.*such as 100"):
        assert len(everything(build(tmp_path, NAME))) == 66
    file = folder / "labels.tsv"
    lines = file.read_text()
    (folder / "images/4/400.jpg").unlink()
    with pytest.warns(UserWarning, match="labels.tsv") as said:
        build(tmp_path, NAME)
    assert "1 named crops are not there (such as 400)" in str(said[0].message)
    file.write_text(lines.replace("301\tlsil", "301\thsil"))
    with pytest.raises(UserError, match="calls 301 hsil, but it lies in the folder of LSIL"):
        build(tmp_path, NAME)
    file.write_text(lines.replace("301\tlsil", "301\t"))
    with pytest.raises(UserError, match=r"line \d+ has no Index or no Label"):
        build(tmp_path, NAME)


def test_nothing_there(build, tmp_path):
    with pytest.raises(MissingFileError, match="comparison_detector.*DATASET.ROOT"):
        build(tmp_path, NAME)
