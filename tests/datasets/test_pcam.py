"""PCam from HDF5 files, packed and plain, and Kaggle's TIFF copy."""

from __future__ import annotations

import csv
import gzip
import shutil

import numpy as np
import pytest
from cases import DatasetCase
from PIL import Image

from cerviclip.data.split.patient_grouped import patients_on_two_parts
from cerviclip.datasets.pcam import BLANK
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import MissingFileError, UserError
from dassl.utils.images import decode_image

COUNTS = {"train": 24, "valid": 12, "test": 16}


def write_pcam(folder, packed=False, meta=True) -> None:
    """Arrays, labels of shape (N, 1, 1, 1) and meta files as they are released; valid, not val.

    ``tumor_patch`` is true more often than ``center_tumor_patch``, which is the label.
    """
    h5py = pytest.importorskip("h5py")
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, number in COUNTS.items():
        stem = folder / f"camelyonpatch_level_2_split_{part}"
        labels = np.arange(number) % 2
        with h5py.File(f"{stem}_x.h5", "w") as file:
            file["x"] = rng.integers(0, 256, (number, 96, 96, 3), dtype=np.uint8)
        with h5py.File(f"{stem}_y.h5", "w") as file:
            file["y"] = labels.astype(np.uint8).reshape(-1, 1, 1, 1)
        for kind in ("x", "y"):
            if packed:
                with open(f"{stem}_{kind}.h5", "rb") as plain:
                    with gzip.open(f"{stem}_{kind}.h5.gz", "wb", 1) as target:
                        shutil.copyfileobj(plain, target)
                (folder / f"{stem}_{kind}.h5").unlink()
        if meta:
            write_meta(f"{stem}_meta.csv", part, labels)


def write_meta(path, part, labels):
    with open(path, "w", newline="") as opened:
        rows = csv.writer(opened)
        head = ["", "coord_y", "coord_x", "tumor_patch", "center_tumor_patch", "wsi"]
        rows.writerow(head)
        for i, label in enumerate(labels):
            group = "test" if part == "test" else f"train_{'tumor' if i % 3 else 'normal'}"
            slide = f"camelyon16_{group}_{(100 if part == 'valid' else 0) + i % 4:03d}"
            rows.writerow([i, 10 * i, 20 * i, True, bool(label), slide])


def write_kaggle(folder) -> None:
    """Labelled patches in train, others in test, and the two blank pictures of the release."""
    (folder / "train").mkdir(parents=True)
    (folder / "test").mkdir()
    rng = np.random.default_rng(1)
    names = [f"{i:040x}" for i in range(40)] + sorted(BLANK)
    for i, name in enumerate(names):
        blank = np.zeros((96, 96, 3), np.uint8)
        pixels = blank if name in BLANK else rng.integers(0, 256, blank.shape, dtype=np.uint8)
        Image.fromarray(pixels).save(
            folder / f"{'train' if i < 38 or i > 39 else 'test'}/{name}.tif"
        )
    with open(folder / "train_labels.csv", "w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(["id", "label"])
        rows.writerows([name, i % 2] for i, name in enumerate(names) if i not in (38, 39))


CASE = (
    DatasetCase("PCam", lambda root: write_pcam(root / "pcam")),
    DatasetCase(
        "PCamKaggle",
        lambda root: write_kaggle(root / "histopathologic-cancer-detection"),
        {"PATIENT_PATTERN": "stem"},
    ),
)


@pytest.mark.parametrize("packed", [False, True])
def test_patches_slides_and_parts_of_the_release(build, tmp_path, packed):
    write_pcam(tmp_path / "pcam", packed)
    data = build(tmp_path, "PCam")
    assert [len(data.train_x), len(data.val), len(data.test)] == [24, 12, 16]
    assert {"camelyon16_train_tumor_001", "camelyon16_train_normal_003"} <= {
        item.patient_id for item in data.train_x
    }
    assert not patients_on_two_parts(data.full_split)
    assert any("each is read when it is drawn" in line for line in data.summary)
    assert all(row["path"].startswith("val/camelyon16") for row in data.split_record["val"])
    if not packed:
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "pcam/camelyonpatch_level_2_split_test_x.h5") as file:
            for item in data.test:
                number = int(item.impath.rpartition("/")[2][:-4])
                assert item.label == number % 2
                assert np.array_equal(decode_image(item.impath), file["x"][number])


def test_only_drawn_patches_become_pictures(build, tmp_path, monkeypatch):
    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path / "cache"))
    write_pcam(tmp_path / "pcam")
    build(tmp_path, "PCam", NUM_SHOTS=2, NUM_SHOTS_VAL=3)
    written = [file.parts[-3] for file in (tmp_path / "cache").glob("unpacked/*/*/*/*.png")]
    assert {part: written.count(part) for part in ("train", "val", "test")} == {
        "train": 4, "val": 6, "test": 16,
    }  # fmt: skip


def test_as_an_external_center_the_test_part_alone_is_unpacked(make_cfg, tmp_path, monkeypatch):
    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path / "cache"))
    write_pcam(tmp_path / "pcam")
    cfg = make_cfg(tmp_path, "PCam")
    center = type("PCam", (DATASET_REGISTRY.get("PCam"),), {"is_external": True})(cfg)
    assert len(center.test) == 16 and not center.train_x
    assert len(list((tmp_path / "cache").glob("unpacked/*/*/*/*.png"))) == 16


def test_without_meta_files_no_slide_is_known(build, tmp_path):
    write_pcam(tmp_path / "pcam", meta=False)
    with pytest.warns(UserWarning, match="no slide is known"):
        data = build(tmp_path, "PCam")
    assert {item.patient_id for item in data.train_x} == {""}


def test_a_meta_file_of_another_part(build, tmp_path):
    write_pcam(tmp_path / "pcam")
    stem = "camelyonpatch_level_2_split"
    shutil.copy(tmp_path / f"pcam/{stem}_test_meta.csv", tmp_path / f"pcam/{stem}_train_meta.csv")
    with pytest.raises(UserError, match="train_meta.csv does not belong.*16 rows for 24 labels"):
        build(tmp_path, "PCam")


def test_files_that_lack_or_are_damaged(build, tmp_path):
    with pytest.raises(MissingFileError, match="PCamKaggle"):
        build(tmp_path, "PCam")
    write_pcam(tmp_path / "pcam")
    file = tmp_path / "pcam/camelyonpatch_level_2_split_test_x.h5"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(UserError, match="test_x.h5 is no whole HDF5 file.*download it again"):
        build(tmp_path, "PCam")
    file.unlink()
    with pytest.raises(MissingFileError, match="lacks camelyonpatch_level_2_split_test_x.h5"):
        build(tmp_path, "PCam")


@pytest.mark.parametrize(
    ("array", "change", "told"),
    [
        ("y", lambda a: a + 1, "train_y.h5 has the label 2, which is neither 0 nor 1"),
        ("y", lambda a: a.astype(int) - 1, "has the label -1"),
        ("y", lambda a: a.astype(float) / 2, "has the label 0.5"),
        ("x", lambda a: a / np.float32(255), r"shape \(24, 96, 96, 3\) \(float32\).*of bytes"),
        ("x", lambda a: a.astype(np.uint16), r"\(uint16\)"),
        ("x", lambda a: a.transpose(0, 3, 1, 2), r"shape \(24, 3, 96, 96\)"),
        ("x", None, 'has no array "x" .it has data'),
    ],
)
def test_arrays_that_are_no_patches_or_labels(build, tmp_path, array, change, told):
    """-1 was the class tumor, and arrays of floats stopped the run in the middle."""
    h5py = pytest.importorskip("h5py")
    write_pcam(tmp_path / "pcam")
    with h5py.File(tmp_path / f"pcam/camelyonpatch_level_2_split_train_{array}.h5", "r+") as file:
        values = file[array][:]
        del file[array]
        file[array if change else "data"] = change(values) if change else values
    with pytest.raises(UserError, match=told):
        build(tmp_path, "PCam")


def test_kaggles_copy(build, tmp_path):
    write_kaggle(tmp_path / "histopathologic-cancer-detection")
    with pytest.warns(UserWarning, match="tells no slide"):
        data = build(tmp_path, "PCamKaggle")
    items = [*data.train_x, *data.val, *data.test]
    assert len(items) == 38 and data.positive_classes == ["tumor"]
    assert any("which is nothing: 2 images" in line for line in data.summary)
    assert any("gives no label: 2 images" in line for line in data.summary)


def test_kaggles_copy_in_part(build, tmp_path):
    write_kaggle(tmp_path / "histopathologic-cancer-detection")
    (tmp_path / f"histopathologic-cancer-detection/train/{7:040x}.tif").unlink()
    with pytest.raises(MissingFileError, match="1 patches of .*train_labels.csv.*0007.tif"):
        build(tmp_path, "PCamKaggle")
