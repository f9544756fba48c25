"""What a data set says of itself before training: summary, warnings, refusals."""

from __future__ import annotations

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from cerviclip.runs.settings.config_hash import canonical
from dassl.errors import UserError
from helpers import write_images

NAME = "FolderDataset"
pytestmark = pytest.mark.filterwarnings("ignore:.*nothing tells")


def test_summary_says_what_was_read(build, make_cfg, tmp_path, capsys):
    from dassl.data.datasets import build_dataset

    write_images(tmp_path, {"a": 12, "b": 12}, patients=6, size=8)
    (tmp_path / "a/notes.txt").write_text("x")
    cfg = make_cfg(tmp_path, NAME, PATIENT_PATTERN=r"(P\d{7})")
    cfg.VERBOSE = True
    data = build_dataset(cfg)
    shown = capsys.readouterr().out
    assert "24 images in 2 classes (a 12, b 12)" in shown and "8x8 px; RGB" in shown
    assert "patients: 12 in 24 images (P0000000, P0000001, P0000002 ...)" in shown
    assert "train 12 images of 6 patients, val 4 images of 2 patients, test 8" in shown
    assert "other files: 1 .txt" in shown and data.warnings == []


def test_classes_whose_files_are_not_read_are_refused(build, tmp_path):
    """Fault 13: two classes of five were trained on without a word."""
    write_images(tmp_path, {"HSIL": 6, "normal": 6}, size=8)
    (tmp_path / "LSIL").mkdir()
    (tmp_path / "SCC").mkdir()
    for number in range(3):
        (tmp_path / "SCC" / f"{number}.dcm").write_bytes(b"DICM")
    (tmp_path / "HSIL/x.heic").write_bytes(b"x")
    with pytest.raises(UserError, match=r"HSIL \(1 \.heic\), LSIL \(empty\), SCC \(3 \.dcm\)"):
        build(tmp_path, NAME)
    with pytest.warns(UserWarning, match=r"left out: .*SCC \(3 \.dcm\)"):
        data = build(tmp_path, NAME, CLASSES=("HSIL", "normal"))
    assert any("SCC (3 .dcm)" in line for line in data.summary)
    assert any("SCC (3 .dcm)" in text for text in data.warnings)


def test_jfif_is_read(build, tmp_path):
    for c, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.new("RGB", (8, 8), (c * 90, i * 30, 0)).save(
                tmp_path / name / f"{i}.jfif", format="JPEG"
            )
    data = build(tmp_path, NAME)
    assert len(data.train_x) + len(data.val) + len(data.test) == 8


def test_near_equal_classes_are_pointed_out_and_composed_letters_are_one(build, tmp_path):
    """Fault 11."""
    for seed, side in enumerate(("train", "test")):
        form = ("NFC", "NFD")[seed]
        folder = tmp_path / "unicode" / side
        write_images(folder, {unicodedata.normalize(form, "Zürich"): 3, "b": 3}, seed=seed, size=8)
    assert build(tmp_path / "unicode", NAME).classnames == ["Zürich", "b"]
    write_images(tmp_path / "case", {"HSIL": 6, "hsil": 6, "HSIL ": 6}, size=8)
    with pytest.warns(UserWarning, match='classes "HSIL", "HSIL " and "hsil" differ only'):
        build(tmp_path / "case", NAME)


def test_names_that_are_no_utf_8_are_refused_at_the_start(build, tmp_path):
    """Fault 35: the whole run was lost when its predictions were written."""
    write_images(tmp_path, {"a": 6, "b": 6}, size=8)
    odd = os.fsencode(tmp_path / "a") + b"/\xd7\xd3.png"
    try:
        os.rename(os.fsencode(tmp_path / "a/img_000.png"), odd)
    except OSError:
        pytest.skip("the file system takes no such names")
    with pytest.raises(UserError, match=r"1 names .*not UTF-8 \(such as b'a/\\xd7\\xd3.png'\)"):
        build(tmp_path, NAME)


def test_masks_are_warned_of_and_left_out_by_a_setting(build, tmp_path):
    """Fault 8."""
    for seed, tail in enumerate(("", "_mask")):
        for path in write_images(
            tmp_path, {"a": 6, "b": 6}, size=8, seed=seed, suffix=f"{tail}.png"
        ):
            assert path.is_file()
    with pytest.warns(UserWarning, match=r"12 of 24 files look like masks.*\*_mask\.\*"):
        build(tmp_path, NAME)
    data = build(tmp_path, NAME, LEAVE_OUT=("*_mask.*",))
    everything = [*data.train_x, *data.val, *data.test]
    assert len(everything) == 12 and not any(
        item.impath.endswith("_mask.png") for item in everything
    )


@pytest.mark.filterwarnings("ignore:.*on two levels", "ignore:.*PATIENT_PER_CLASS.; if they")
def test_a_field_and_its_crops_are_on_one_side(build, tmp_path):
    """Fault 10."""
    rng = np.random.default_rng(0)
    names = [f"{i:03d}" for i in range(8)]
    names += [f"CROPPED/{i:03d}_{j}" for i in range(8) for j in range(2)]
    for name in ("a", "b"):
        for stem in names:
            path = tmp_path / name / name / f"{stem}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
    data = build(tmp_path, NAME)
    sides: dict = {}
    for side, items in (("train", data.train_x), ("val", data.val), ("test", data.test)):
        for item in items:
            stem = os.path.basename(item.impath)[:3]
            sides.setdefault((item.classname, stem), set()).add(side)
    assert len(sides) == 16 and all(len(found) == 1 for found in sides.values())
    with pytest.warns(UserWarning, match="PATIENT_PER_CLASS"):
        build(tmp_path, NAME, PATIENT_PATTERN=r"^(\d+)")
    apart = build(tmp_path, NAME, PATIENT_PATTERN=r"^(\d+)", PATIENT_PER_CLASS=True)
    people = {item.patient_id for item in [*apart.train_x, *apart.val, *apart.test]}
    assert people == {f"{name}/{i:03d}" for name in "ab" for i in range(8)}


def test_classes_with_one_description_are_named(build, tmp_path):
    """Fault 25."""
    write_images(tmp_path, {"p": 6, "q": 6}, size=8)
    (tmp_path / "texts.yaml").write_text("set:\n  p: a cell\n  q: a cell\n")
    with pytest.warns(UserWarning, match='classes "p" and "q" have the same texts'):
        build(tmp_path, NAME, DESCRIPTIONS=str(tmp_path / "texts.yaml"))


def test_twelve_bits_in_a_data_set_are_scaled_and_warned_of(build, tmp_path):
    """Fault 15, from the folder to the pixels."""
    from dassl.utils import read_image

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(6):
            values = rng.integers(0, 4096, (8, 8)).astype(np.uint16)
            Image.fromarray(values).save(tmp_path / name / f"{i}.png")
    with pytest.warns(UserWarning, match="so that 0 to 4095 is 0-255; INPUT.BITS"):
        data = build(tmp_path, NAME)
    assert np.asarray(read_image(data.train_x[0].impath)).max() > 200
    assert any("0 to 4095" in text for text in data.warnings)


def test_settings_left_alone_are_no_part_of_a_configuration(make_cfg, tmp_path):
    """Finished runs of older versions stay finished."""
    cfg = make_cfg(tmp_path, NAME)
    keys = ("INPUT.BITS", "INPUT.WINDOW", "DATASET.LEAVE_OUT", "DATASET.PATIENT_PER_CLASS")
    assert not set(keys) & canonical(cfg).keys()
    cfg.INPUT.BITS, cfg.DATASET.LEAVE_OUT = 12, ("*x*",)
    assert {"INPUT.BITS", "DATASET.LEAVE_OUT"} <= canonical(cfg).keys()
