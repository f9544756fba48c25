"""Crops around points, and the check that the points fit the pictures."""

from __future__ import annotations

import numpy as np
import pytest

from cerviclip.data.cell_crops import Field, cut, fit_scale


@pytest.mark.parametrize("center", [(0, 0), (19, 11), (5, 11), (10, 6)])
def test_a_crop_is_the_mirrored_picture_around_its_center(center):
    pixels = np.random.default_rng(1).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    padded = np.pad(pixels, ((5, 5), (4, 4), (0, 0)), mode="reflect")
    x, y = center
    assert np.array_equal(cut(pixels, x, y, 8, 10), padded[y : y + 10, x : x + 8])


def test_darkness_is_surround_minus_nucleus():
    pixels = np.full((101, 101), 200.0)
    pixels[46:55, 46:55] = 50  # the very square that is taken for a nucleus
    dark = Field(pixels).darkness(np.array([[50, 50], [500, 50], [2, 2]]))
    surround = 200 - 150 * 81 / 61**2
    assert dark == pytest.approx([surround - 50, 0, 0])


def test_the_scale_of_the_pictures_is_found():
    points = [(x, y) for x in range(60, 1300, 180) for y in range(60, 980, 170)]

    def field(sx, sy, width, height):
        pixels = np.full((height, width), 210.0)
        for x, y in points:
            v, u = round(y * sy), round(x * sx)
            pixels[max(0, v - 6) : v + 7, max(0, u - 6) : u + 7] = 60
        return pixels

    same = fit_scale([(field(1, 1, 1376, 1020), points)], (1376, 1020))
    assert (same.x, same.y) == (1, 1) and same.dark > 100
    found = fit_scale([(field(0.92, 0.925, 1280, 955), points)], (1376, 1020))
    assert (found.x, found.y) == pytest.approx((0.92, 0.925), abs=0.004)
    assert found.dark > 100 > found.unscaled
