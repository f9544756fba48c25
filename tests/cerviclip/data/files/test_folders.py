"""Scanning folders: what is an image, what is skipped, and the account of it."""

from __future__ import annotations

import os

import pytest

from cerviclip.data.files.folders import (
    Skipped,
    class_folders,
    image_files,
    left_out,
    warn_of_companions,
    warn_of_levels,
    warn_of_masks,
    warn_of_two_formats,
)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_images_of_every_suffix_and_an_account_of_the_rest(tmp_path):
    """Fault 13."""
    images = ["a.JFIF", "a.jp2", "b.jpe", "c.pgm", "d.ppm", "e.tiff"]
    touch(tmp_path, *images, "f.heic", "g.dcm", "h.dcm", "notes.txt", "Thumbs.db", "._a.png")
    skipped = Skipped()
    assert image_files(tmp_path, skipped, "SCC") == images
    assert skipped.lost() == ["SCC (2 .dcm, 1 .heic, 1 .txt)"]
    assert any("other files: 1 .txt" in line for line in skipped.lines())


def test_folders_of_operating_systems_are_no_classes_and_hold_no_images(tmp_path):
    """Fault 31."""
    touch(tmp_path, "HSIL/a.png", "HSIL/@eaDir/t.jpg", "HSIL/lost+found/q.png", "@eaDir/b.png")
    touch(tmp_path, "$RECYCLE.BIN/c.png", "__MACOSX/d.png", ".cache/e.png")
    assert class_folders(tmp_path) == ["HSIL"]
    assert image_files(tmp_path / "HSIL") == ["a.png"] and image_files(tmp_path) == ["HSIL/a.png"]


def test_a_link_that_leads_back_is_not_followed(tmp_path):
    """Fault 39: links to above, to within, and twice to the same place."""
    touch(tmp_path, "HSIL/in/a.png", "normal/b.png", "elsewhere/c.png")
    for name, target in {"up": "../..", "in2": "in", "far": "../elsewhere"}.items():
        os.symlink(target, tmp_path / "HSIL" / name)
    skipped = Skipped()
    assert image_files(tmp_path / "HSIL", skipped, "HSIL") == ["far/c.png", "in/a.png"]
    assert sorted(skipped.links) == ["HSIL/in2", "HSIL/up"]


@pytest.mark.parametrize("tail", ["-d", "_mask", "_SEG", "_gt"])
def test_masks_beside_images_are_told_by_their_twins(tail):
    """Fault 8."""
    paths = [f"a/{i}{t}.bmp" for i in range(4) for t in ("", tail)]
    assert "4 of 8 files look like masks" in warn_of_masks(paths)
    assert warn_of_masks([f"a/{i}{tail}.bmp" for i in range(4)]) == ""
    assert "*/masks/*" in warn_of_masks(["a/x.png", "a/masks/x.png"])
    assert left_out(f"a/1{tail}.bmp", [f"*{tail.lower()}.*"])


def test_fields_and_crops_in_one_class_are_on_two_levels():
    """Fault 10."""
    paths = ["a/a/000.bmp", "a/a/CROPPED/000_00.bmp", "b/P1/1.png", "b/P2/2.png"]
    assert "1 class folders hold images on two levels" in warn_of_levels(paths)
    assert left_out(paths[1], ["*/CROPPED/*"]) and not left_out(paths[0], ["*/CROPPED/*"])
    assert warn_of_levels(paths[2:]) == ""


def test_companions_of_images_by_any_word():
    paths = [f"a/x{i}{tail}.png" for i in range(6) for tail in ("", "_contour")]
    said = warn_of_companions(paths)
    assert "6 of 12 files" in said and "'*_contour.*'" in said
    heads = [f"a/{head}x{i}.png" for i in range(6) for head in ("", "mask_")]
    assert "'mask_*'" in warn_of_companions(heads)
    masks = [f"a/x{i}{tail}.png" for i in range(6) for tail in ("", "_mask")]
    assert warn_of_masks(masks) and not warn_of_companions(masks)  # said once
    for alone in (
        [f"a/x_{i}.png" for i in range(9)],
        [f"a/{c}_left.png" for c in "pqr"],
        masks[:1],
    ):
        assert warn_of_companions(alone) == ""


def test_a_folder_of_masks_among_the_classes():
    paths = [f"{folder}/{i}.png" for folder in ("a", "b", "Masks") for i in range(4)]
    assert "4 of 12 files look like masks" in warn_of_masks(paths)
    assert "'Masks/*'" in warn_of_masks(paths)


def test_one_image_in_two_formats():
    paths = ["a/1.png", "a/1.jpg", "a/2.png", "b/1.png"]
    assert "1 images are there in several formats (such as a/1.png and a/1.jpg)" in (
        warn_of_two_formats(paths)
    )
    assert warn_of_two_formats(paths[1:]) == ""
