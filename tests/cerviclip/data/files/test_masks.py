"""Masks and other companions of images are told by their names."""

from __future__ import annotations

import time

import pytest

from cerviclip.data.files.folders import left_out
from cerviclip.data.files.masks import warn_of_companions, warn_of_masks


@pytest.mark.parametrize("tail", ["-d", "_mask", "_SEG", "_gt"])
def test_masks_beside_images_are_told_by_their_twins(tail):
    """Fault 8."""
    paths = [f"a/{i}{t}.bmp" for i in range(4) for t in ("", tail)]
    assert "4 of 8 files look like masks" in warn_of_masks(paths)
    assert warn_of_masks([f"a/{i}{tail}.bmp" for i in range(4)]) == ""
    assert "*/masks/*" in warn_of_masks(["a/x.png", "a/masks/x.png"])
    assert left_out(f"a/1{tail}.bmp", [f"*{tail.lower()}.*"])


def test_companions_of_images_by_any_word():
    paths = [f"a/x{i}{tail}.png" for i in range(6) for tail in ("", "_contour")]
    said = warn_of_companions(paths)
    assert "6 of 12 files" in said and "'*_contour.*'" in said
    heads = [f"a/{head}x{i}.png" for i in range(6) for head in ("", "outline_")]
    assert "'outline_*'" in warn_of_companions(heads)
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


def beside(*names: str, images: int = 8) -> list[str]:
    """Paths of images, and of a file for each by every form of name."""
    forms = ("a/img_{i}.png", *names)
    return [form.format(i=i) for i in range(images) for form in forms]


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("a/img_{i}_mask1.png", "*_mask*.*"),
        ("a/img_{i}_mask_1.PNG", "*_mask*.*"),
        ("a/IMG_{i}-Mask.png", "*-mask.*"),
        ("a/img_{i}.seg.png", "*.seg.*"),
        ("a/img_{i} (mask).png", "*mask*"),
        ("a/mask_img_{i}.png", "mask_*"),
        ("a/gt_{i}.png", "gt_*"),
        ("a/MASK_{i}.png", "mask_*"),
        ("a/Masken/img_{i}.png", "*/Masken/*"),
        ("a/labels/img_{i}.png", "*/labels/*"),
        ("a/mask_images/img_{i}.png", "*/mask_images/*"),
        ("a/seg/img_{i}_seg.png", "*/seg/*"),
        ("Labels/img_{i}.png", "Labels/*"),
        ("ground truth/img_{i}_gt.png", "ground truth/*"),
    ],
)
def test_masks_under_many_names(form, pattern):
    """Masks with a number, with another word than their image's, or in folders of other names."""
    paths = beside(form)
    said = warn_of_masks(paths)
    assert "8 of 16 files look like masks" in said
    named = said.partition("('")[2].partition("',)")[0]
    assert [left_out(path, [named]) for path in paths] == [False, True] * 8, named
    assert not warn_of_companions(paths)


def test_a_few_masks_are_warned_of_too():
    paths = [*beside(images=60), "a/img_3_mask.png"]
    assert "1 of 61 files" in warn_of_masks(paths)


@pytest.mark.parametrize(
    "paths",
    [
        [f"{name}/{name}_{i}.png" for name in ("seg", "band", "label") for i in range(9)],
        [f"a/mask_{i}.png" for i in range(9)],
        [f"a/img_{i}.png" for i in range(9)] + ["a/unmasked_3.png", "a/segment of 3.png"],
        [f"{name}/{i}.png" for name in ("a", "b", "c") for i in range(9)],
    ],
)
def test_classes_and_images_that_are_no_masks(paths):
    assert warn_of_masks(paths) == ""


def test_very_many_images_of_one_folder_take_no_time():
    """The names of the folder were copied for each of its images."""
    paths = [f"{n % 2}/{n:06d}.png" for n in range(40_000)]
    paths += [f"label_{n % 300}/p{n % 50}/{n}.png" for n in range(20_000)]
    start = time.process_time()
    assert not warn_of_masks(paths) and not warn_of_companions(paths)
    assert time.process_time() - start < 12  # seconds; it was above 30
