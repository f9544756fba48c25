"""``cerviclip augment``: whole data sets out, resumed, read back without a leak."""

from __future__ import annotations

import csv
import os
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from cerviclip.data.variants.names import is_variant, original_of
from cerviclip.runs.settings.opened import open_dataset
from cerviclip.tools.augment import main
from dassl.errors import UserError

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*nothing tells whose images:UserWarning",
    "ignore:.*are variants made by augmentation",  # a test of them is asked for here
)
FOUR = ("quarter", "rotate", "blur", "stain")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two classes of eight patients with two images each."""
    folder, rng = tmp_path_factory.mktemp("cells"), np.random.default_rng(1)
    for name in ("HSIL", "NILM"):
        (folder / name).mkdir()
        for n in range(16):
            pixels = rng.integers(60, 250, (20, 24, 3), dtype=np.uint8)
            patient = f"{'N' if name == 'NILM' else 'H'}{n // 2}"
            Image.fromarray(pixels).save(folder / name / f"{patient}_{n}.bmp")
    return folder


def augment(source, out, *words):
    return main([str(source), "--patients", "^([HN]\\d+)_", "--out", str(out), *words])


@pytest.fixture(scope="module")
def written(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "set"
    assert augment(source, out, "--variants", *FOUR) == 0
    return out


def test_a_folder_among_the_images_is_refused(source, tmp_path):
    """The variants would be a class of the data set next time."""
    with pytest.raises(UserError, match="lies in .* read as one of its classes"):
        augment(source, source / "augmented", "--variants", *FOUR)
    assert not (source / "augmented").exists()


def parts_of(data):
    return {"train": data.train_x, "val": data.val, "test": data.test}


def test_train_alone_has_variants_and_the_list_says_whose(written):
    rows = list(csv.DictReader((written / "list.csv").read_text().splitlines()))
    assert {row["path"] for row in rows} == {
        p.relative_to(written).as_posix() for p in written.glob("*/*/*")
    }
    variants = [row for row in rows if is_variant(row["path"])]
    assert {row["split"] for row in variants} == {"train"}
    own = {row["path"]: row["patient"] for row in rows}
    assert all(own[original_of(row["path"])] == row["patient"] != "" for row in variants)
    originals = [r for r in rows if r["split"] == "train" and not is_variant(r["path"])]
    assert len(variants) == len(FOUR) * len(originals) > 0


@pytest.mark.parametrize("how", ["list", "folders", "anew", "by image", "a fold"])
def test_no_variant_is_in_another_part_than_its_original(written, source, tmp_path, how):
    options = {
        "list": ["DATASET.FILE", "list.csv"],
        "folders": [],
        "anew": ["DATASET.FOLDER", "train"],
        "by image": ["DATASET.FOLDER", "train", "DATASET.SPLIT_BY", "image"],
        "a fold": ["DATASET.FOLDER", "train", "DATASET.FOLD", "2/3"],
    }[how]
    if how == "by image":
        with pytest.warns(UserWarning, match="split by image"):
            data = open_dataset(str(written), opts=[*options, "DATASET.TEST_VARIANTS", True])
    else:
        data = open_dataset(str(written), opts=[*options, "DATASET.TEST_VARIANTS", True])
    homes = defaultdict(set)
    for part, items in parts_of(data).items():
        for item in items:
            homes[original_of(os.path.basename(item.impath))].add(part)
    assert homes and all(len(where) == 1 for where in homes.values())
    assert sum(is_variant(i.impath) for i in data.train_x) > 0


def test_variants_are_not_tested_unless_asked(written):
    opts = ["DATASET.FOLDER", "train"]
    data = open_dataset(str(written), opts=opts)
    assert not any(is_variant(i.impath) for i in [*data.val, *data.test])
    assert sum("left out of test" in note for note in data.notes) == 1
    asked = open_dataset(str(written), opts=[*opts, "DATASET.TEST_VARIANTS", True])
    assert len(asked.test) == 5 * len(data.test)


def test_shots_count_originals_and_bring_their_variants(written):
    opts = ["DATASET.FILE", "list.csv", "DATASET.NUM_SHOTS", 2]
    data = open_dataset(str(written), opts=opts)
    assert len(data.train_x) == 2 * 2 * 5
    assert len({original_of(i.impath) for i in data.train_x}) == 4


def test_a_planted_variant_of_a_tested_image_is_refused(written, source, tmp_path):
    import shutil

    copy = tmp_path / "set"
    shutil.copytree(written, copy)
    tested = next((copy / "test" / "HSIL").glob("*.bmp"))
    planted = f"{tested.name}.aug09-blur.png"
    Image.new("RGB", (9, 9), (3, 200, 90)).save(copy / "train" / "HSIL" / planted)
    with pytest.raises(UserError, match="another part than the original"):
        open_dataset(str(copy))
    with pytest.warns(UserWarning, match="trained on|split by image"):
        open_dataset(str(copy), opts=["DATASET.SPLIT_BY", "image"])


def test_goes_on_where_it_was_cut_off(written, source, capsys):
    before = {p: p.stat().st_mtime_ns for p in written.glob("train/*/*")}
    gone = sorted(p for p in before if is_variant(p.name))[3]
    content = gone.read_bytes()
    gone.unlink()
    assert augment(source, written, "--variants", *FOUR, "--jobs", "2") == 0
    assert "were there" in capsys.readouterr().out
    assert gone.read_bytes() == content  # the same by two processes as by one
    assert all(p.stat().st_mtime_ns == t for p, t in before.items() if p != gone)
    with pytest.raises(UserError, match="another seed"):
        augment(source, written, "--variants", *FOUR, "--seed", "2")
    with pytest.raises(UserError, match="there are quarter"):
        augment(source, written, "--variants", "spin")


def test_refuses_what_it_should(written, source, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        augment(source, tmp_path / "full")
    with pytest.raises(UserError, match="variant already"):
        main([str(written), "--out", str(tmp_path / "twice")])
    with pytest.raises(UserError, match="--root goes with"):
        main([str(source), "--root", "x", "--out", str(tmp_path / "o")])
