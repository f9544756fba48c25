"""The classical detector against the phantoms' own surfaces, and on what is no B-scan."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cerviclip.data.phantoms import CENTERS, render_patient
from cerviclip.data.phantoms.render import surface_rows
from cerviclip.data.roi.surface import tissue_mask, tissue_surface, trace


def errors(center: str) -> np.ndarray:
    """Median distance of found and true surface of each frame, as a share of the height."""
    frames = [
        f for label in range(5) for f in render_patient(CENTERS[center], 900 + label, label, 3)
    ]
    found = [tissue_surface(frame.image) for frame in frames]
    truth = [surface_rows(frame.mask) for frame in frames]
    return np.array([np.median(np.abs(a - b)) / 224 for a, b in zip(found, truth, strict=True)])


@pytest.mark.parametrize("center", ["mixed", "huaxi", "xiangya"])
def test_surface_lies_within_two_per_cent_of_the_height_at_the_median(center):
    assert np.median(errors(center)) < 0.02


def test_the_sheath_is_not_tissue_in_real_frames(shared_dir):
    # Rows of the sheath's lower line, read off the four frames by eye at three columns.
    lower_line = {1: (62, 60, 57), 2: (67, 71, 68), 3: (123, 121, 128), 4: (111, 108, 111)}
    for number, rows in lower_line.items():
        image = np.asarray(Image.open(shared_dir / "reference" / "oct" / f"frame_{number}.png"))
        surface = tissue_surface(image)
        for column, row in zip((30, 110, 200), rows, strict=True):
            assert row - 3 <= surface[column] <= row + 14, (number, column, surface[column])


def test_other_sizes_give_the_same_surface():
    frame = render_patient(CENTERS["mixed"], 901, 0, 1)[0].image
    large = np.asarray(Image.fromarray(frame).resize((512, 384), Image.Resampling.BICUBIC))
    small, big = tissue_surface(frame), tissue_surface(large)
    assert big.shape == (512,)
    columns = np.linspace(0, 223, 512)
    expected = np.interp(columns, np.arange(224), small) / 224
    assert np.median(np.abs(big / 384 - expected)) < 0.01


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_frame_that_shows_nothing_has_no_surface(level):
    assert tissue_surface(np.full((50, 70), level, np.uint8)) is None
    assert tissue_mask(np.full((50, 70), level, np.uint8)) is None


def test_without_a_sheath_tissue_begins_where_water_ends():
    image = np.zeros((224, 224), np.uint8)
    image[100:] = 120
    assert np.median(np.abs(tissue_surface(image) - 100)) <= 3
    assert tissue_mask(image)[110:].all() and not tissue_mask(image)[:90].any()


def test_trace_finds_the_best_path_of_all():
    rng = np.random.default_rng(0)
    score = rng.normal(size=(4, 4)).astype(np.float32)

    def value(path):
        steps = np.abs(np.diff(path))
        total = score[list(path), range(4)].sum() - 0.15 * steps.sum()
        return -np.inf if steps.max() > 1 else total

    every = [tuple(np.unravel_index(i, (4, 4, 4, 4))) for i in range(256)]
    assert value(tuple(trace(score, max_step=1))) == pytest.approx(max(map(value, every)))
