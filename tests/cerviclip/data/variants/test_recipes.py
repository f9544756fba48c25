"""The fourteen variants: sizes, identities, determinism, no black corners."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cerviclip.data.variants.recipes import NUMBERS, RECIPES, affine, make_variant


@pytest.fixture(scope="module")
def cell() -> Image.Image:
    """A bright textured picture, 60 x 44 px."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(120, 250, (6, 8, 3), dtype=np.uint8))
    return small.resize((60, 44), Image.Resampling.BICUBIC)


def test_there_are_fourteen_with_numbers_that_stay():
    assert list(NUMBERS.values()) == list(range(1, 15))
    assert list(NUMBERS)[:4] == ["quarter", "half", "mirror", "flip"] and NUMBERS["stain"] == 14


@pytest.mark.parametrize("kind", RECIPES)
def test_a_variant_depends_on_name_and_seed_alone(cell, kind):
    one = make_variant(cell, kind, "HSIL/001.bmp", 1)
    again = make_variant(cell, kind, "HSIL/001.bmp", 1)
    assert one.tobytes() == again.tobytes() != cell.tobytes()
    assert one.mode == "RGB"
    assert one.size == ((44, 60) if kind == "quarter" else (60, 44))
    others = {make_variant(cell, kind, name, 1).tobytes() for name in ("a.bmp", "b.bmp", "c.bmp")}
    assert len(others) == (1 if NUMBERS[kind] <= 4 else 3)


def test_all_differ_from_each_other_and_none_is_dark(cell):
    made = [make_variant(cell, kind, "a.bmp", 1) for kind in RECIPES]
    assert len({image.tobytes() for image in made}) == 14
    # The picture holds no value below 100; a corner filled with black would.
    for kind, image in zip(RECIPES, made, strict=True):
        assert np.asarray(image).min() > 40, kind


def test_turns_and_mirrorings_lose_nothing(cell):
    for kind, times in (("quarter", 4), ("half", 2), ("mirror", 2), ("flip", 2)):
        image = cell
        for _ in range(times):
            image = make_variant(image, kind, "a.bmp", 1)
        assert image.tobytes() == cell.tobytes()


def test_affine_maps_are_right(cell):
    still = affine(cell, np.eye(2), np.zeros(2))
    assert np.abs(np.asarray(still, int) - np.asarray(cell, int)).max() <= 1
    moved = np.asarray(affine(cell, np.eye(2), np.array([5.0, 3.0])), int)
    assert np.abs(moved[:-3, :-5] - np.asarray(cell, int)[3:, 5:]).max() <= 1
    assert np.abs(moved[:-3, -5:] - np.asarray(cell, int)[3:, :-6:-1]).max() <= 1  # mirrored
    half = affine(cell, -np.eye(2), np.zeros(2))
    turned = cell.transpose(Image.Transpose.ROTATE_180)
    assert np.abs(np.asarray(half, int) - np.asarray(turned, int)).max() <= 1
