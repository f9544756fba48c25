"""Stated corruptions: what each level does to a picture."""

import numpy as np
import pytest
from PIL import Image

from cerviclip.data.variants.corruptions import LEVELS, SEVERITIES, corrupt


@pytest.fixture(scope="module")
def picture():
    """A stained field: pink ground, violet discs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :128]
    pixels = np.empty((96, 128, 3))
    pixels[:] = (230, 190, 215)
    for cx, cy, r in ((30, 30, 12), (90, 60, 18), (60, 75, 8)):
        pixels[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = (110, 70, 150)
    return Image.fromarray((pixels + rng.normal(0, 3, pixels.shape)).clip(0, 255).astype(np.uint8))


def distance(one, two):
    return np.abs(np.asarray(one, float) - np.asarray(two, float)).mean()


@pytest.mark.parametrize("kind", LEVELS)
def test_each_severity_is_farther_from_the_image(picture, kind):
    found = [corrupt(picture, kind, severity, "a.png") for severity in (0, *SEVERITIES)]
    assert found[0] is picture
    assert all(image.size == picture.size and image.mode == "RGB" for image in found)
    distances = [distance(picture, image) for image in found]
    assert distances == sorted(distances)
    assert len(set(distances)) == 6


@pytest.mark.parametrize("kind", LEVELS)
def test_an_image_is_corrupted_alike_each_time(picture, kind):
    one, two = (corrupt(picture, kind, 3, "a.png") for _ in range(2))
    assert one.tobytes() == two.tobytes()


def test_noise_hangs_on_the_name_alone(picture):
    one, two = (corrupt(picture, "noise", 3, name) for name in ("a.png", "b.png"))
    assert one.tobytes() != two.tobytes()
    noise = np.asarray(one, float) - np.asarray(picture, float)
    assert noise.std() == pytest.approx(LEVELS["noise"][1][2], rel=0.1)


def test_gain_is_a_factor(picture):
    found = np.asarray(corrupt(picture, "gain", 2, "a.png"), float)
    np.testing.assert_allclose(found, 0.7 * np.asarray(picture, float), atol=0.5)


def test_stain_moves_density_between_the_two_stains(picture):
    """White has no stain to change; a violet nucleus gets darker in red than a pink ground does."""
    white = Image.new("RGB", (8, 8), "white")
    assert distance(white, corrupt(white, "stain", 5, "a.png")) == 0
    before, after = np.asarray(picture, float), np.asarray(corrupt(picture, "stain", 4, "a"), float)
    nucleus, ground = (60, 90), (5, 120)
    red = [after[place][0] / before[place][0] for place in (nucleus, ground)]
    assert red[0] < red[1] < 1
