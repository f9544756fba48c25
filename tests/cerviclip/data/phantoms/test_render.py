"""Frames: the same for the same seed, of the right shape, and each class with its own structure."""

from __future__ import annotations

import numpy as np
import pytest

from cerviclip.data.phantoms import CENTERS, CLASSES, render_patient, surface_rows
from cerviclip.data.phantoms.fields import VolumeFields, spline_basis
from cerviclip.data.phantoms.render import speckle
from cerviclip.data.phantoms.structures import STRUCTURES, View, draw_anatomy

MIXED = CENTERS["mixed"]


def view_of(seed: int) -> tuple[View, dict[str, float]]:
    depth = np.broadcast_to(np.arange(160, dtype=np.float32)[:, None], (160, 224))
    return View(depth, VolumeFields((7, seed), 0.4), 1.0, 0.3), draw_anatomy(
        np.random.default_rng(seed)
    )


def test_a_patient_is_the_same_every_time_and_unlike_the_next():
    one = render_patient(MIXED, 3001, 0, 2)
    two = render_patient(MIXED, 3001, 0, 2)
    other = render_patient(MIXED, 3002, 0, 2)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0].image, other[0].image)
    assert not np.array_equal(one[0].image, one[1].image)


def test_global_generators_do_not_matter():
    np.random.seed(1)
    one = render_patient(MIXED, 3003, 2, 1)[0].image
    np.random.seed(2)
    np.random.random(10)
    assert np.array_equal(one, render_patient(MIXED, 3003, 2, 1)[0].image)


def test_a_stored_frame_has_not_changed():
    """The generator is frozen; another picture for this seed needs another VERSION."""
    frame = render_patient(MIXED, 1, 4, 1)[0]
    columns = surface_rows(frame.mask)
    assert frame.image.shape == (224, 224) and frame.image.dtype == np.uint8
    # Rounded loosely: the last bit of exp and log may differ between processors.
    assert float(frame.image.mean()) == pytest.approx(STORED_MEAN, abs=0.02)
    assert float(columns.mean()) == pytest.approx(STORED_SURFACE, abs=0.1)


STORED_MEAN, STORED_SURFACE = 55.279, 71.210


@pytest.mark.parametrize("label", range(5))
def test_a_frame_shows_dark_water_a_bright_sheath_and_tissue_that_fades(label):
    for frame in render_patient(MIXED, 3100 + label, label, 3):
        assert set(np.unique(frame.mask)) == {0, 255}
        rows = surface_rows(frame.mask)
        assert frame.scan["sheath_row"] < rows.mean() < 130
        inside = frame.mask == 255
        image = frame.image.astype(float)
        water = image[: int(frame.scan["sheath_row"]) - 14]
        assert water.mean() < 20 < image[inside].mean()
        # The brightest row lies at the sheath, above the tissue.
        sheath = image[: int(rows.mean()) + 2]
        assert sheath.mean(axis=1).max() > 3 * water.mean()
        depth = np.arange(224)[:, None] - rows[None, :]
        near = image[(depth > 5) & (depth < 35)].mean()
        far = image[(depth > 105) & (depth < 135)].mean()
        assert far < 0.8 * near


def test_every_column_of_a_mask_is_tissue_from_the_surface_down():
    mask = render_patient(MIXED, 3201, 2, 1)[0].mask
    rows = surface_rows(mask)
    expected = np.arange(224)[:, None] >= rows[None, :]
    assert np.array_equal(mask == 255, expected)


def test_a_column_without_tissue_has_its_surface_at_the_height():
    mask = np.zeros((6, 2), np.uint8)
    mask[4:, 1] = 255
    assert surface_rows(mask).tolist() == [6, 4]


def test_frames_of_a_patient_share_their_anatomy():
    """Neighbouring frames are more alike in structure than frames of two patients."""

    def structure(frame):
        rows = surface_rows(frame.mask)
        cut = np.stack(
            [frame.image[r : r + 80, c].astype(float) for c, r in enumerate(np.minimum(rows, 140))]
        )
        coarse = cut.reshape(28, 8, 10, 8).mean((1, 3))
        return (coarse - coarse.mean(0)).ravel()

    def alike(a, b):
        return float(np.corrcoef(structure(a), structure(b))[0, 1])

    same, different = [], []
    for number in range(3300, 3306):
        frames = render_patient(MIXED, number, 0, 2)
        other = render_patient(MIXED, number + 50, 0, 1)[0]
        same.append(alike(*frames))
        different.append(alike(frames[0], other))
    assert np.mean(same) > np.mean(different) + 0.3


def test_cysts_are_dark_ovals_and_nests_are_ragged():
    """A cavity's border is smooth: for its area it is shorter than that of necrosis."""

    def border_over_area(name):
        ratios = []
        for seed in range(12):
            dark = STRUCTURES[name](*view_of(seed)) < -0.7
            area = dark.sum()
            edge = (dark[1:] != dark[:-1]).sum() + (dark[:, 1:] != dark[:, :-1]).sum()
            if area > 150:
                ratios.append(edge / np.sqrt(area))
        assert len(ratios) >= 6
        return np.median(ratios)

    assert border_over_area("cyst") < 0.75 * border_over_area("cancer")


def test_icicles_run_down_and_layers_run_across():
    """Share of the variance that lies between columns: high for streaks, low for layers."""

    def between_columns(name):
        shares = []
        for seed in range(8):
            echo = STRUCTURES[name](*view_of(seed))[20:60]
            shares.append(echo.mean(0).var() / echo.var())
        return np.mean(shares)

    icicles = between_columns("high-grade_squamous_intraepithelial_lesion")
    assert icicles > 0.5 > 0.2 > between_columns("mild_inflammation")


def test_papillae_make_the_surface_wavy():
    """Roughness of the surface at the scale of papillae, against that of layered tissue."""

    def roughness(label):
        values = []
        for number in range(3400, 3406):
            rows = surface_rows(render_patient(MIXED, number, label, 1)[0].mask).astype(float)
            values.append(np.abs(rows[8:] - rows[:-8]).mean())
        return np.mean(values)

    assert roughness(CLASSES.index("ectropion")) > 1.8 * roughness(
        CLASSES.index("mild_inflammation")
    )


def test_speckle_is_rayleigh_and_spreads_with_the_psf():
    rng = np.random.default_rng(0)
    fine, coarse = speckle(rng, 0.4, 0.4), speckle(rng, 1.2, 1.2)
    for grain in (fine, coarse):
        assert float((grain**2).mean()) == pytest.approx(1.0, abs=0.05)
        assert float(grain.mean()) == pytest.approx(np.sqrt(np.pi) / 2, abs=0.02)

    def neighbour(grain):
        return float(np.corrcoef(grain[:, 1:].ravel(), grain[:, :-1].ravel())[0, 1])

    assert neighbour(fine) < 0.1 < 0.5 < neighbour(coarse)


def test_spline_fields_have_unit_variance_everywhere():
    assert np.allclose(np.linalg.norm(spline_basis(224, 7), axis=1), 1.0, atol=1e-5)
    fields = [VolumeFields((1, k), 0.7).line(3, 224, 20) for k in range(300)]
    assert np.allclose(np.std(fields, axis=0), 1.0, atol=0.2)
