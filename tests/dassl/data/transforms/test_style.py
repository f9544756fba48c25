"""Random styles: within their strengths, one per image, and nothing where all are 0."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from cerviclip.data.images.views import describe_transform
from dassl.config import get_cfg_default
from dassl.data.transforms import build_transform
from dassl.data.transforms.style import RandomStyle, RandomStyleOfOne, StyleStrength
from dassl.errors import UserError

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def normalised(grey: float, count: int = 64) -> torch.Tensor:
    x = torch.full((count, 3, 8, 8), grey)
    return (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def grey_of(styled: torch.Tensor) -> torch.Tensor:
    return styled * torch.tensor(STD).view(1, 3, 1, 1) + torch.tensor(MEAN).view(1, 3, 1, 1)


def test_all_off_gives_the_images_back():
    style = RandomStyle(MEAN, STD, StyleStrength(0, 0, 0, 0))
    x = normalised(0.4)
    torch.testing.assert_close(style(x), x)


@pytest.mark.parametrize(
    "strength, low, high",
    [
        (StyleStrength(0.2, 0, 0, 0), 0.4 * 0.818, 0.4 * 1.222),
        (StyleStrength(0, 0.2, 0, 0), 0.4**1.222, 0.4**0.818),
    ],
)
def test_gain_and_gamma_stay_within_their_strength(strength, low, high):
    grey = grey_of(RandomStyle(MEAN, STD, strength)(normalised(0.4)))
    assert low - 1e-3 <= grey.min() < 0.37 and 0.43 < grey.max() <= high + 1e-3
    assert grey.std(dim=(1, 2, 3)).max() < 1e-5  # the same in a whole image
    assert grey.mean(dim=(1, 2, 3)).std() > 0.01  # another in the next


def test_attenuation_changes_the_bottom_and_not_the_top():
    grey = grey_of(RandomStyle(MEAN, STD, StyleStrength(0, 0, 0, 0.5))(normalised(0.4)))
    torch.testing.assert_close(grey[:, :, 0], torch.full_like(grey[:, :, 0], 0.4))
    assert grey[:, :, -1].std() > 0.03


def test_speckle_is_grey_and_scales_with_the_signal():
    style = RandomStyle(MEAN, STD, StyleStrength(0, 0, 0.3, 0))
    grey = grey_of(style(normalised(0.5)))
    torch.testing.assert_close(grey[:, 0], grey[:, 2], rtol=0, atol=1e-5)
    assert grey_of(style(normalised(0.05))).std() < grey.std()
    assert grey.min() >= -1e-6 and grey.max() <= 1 + 1e-6


def test_as_a_step_of_a_transform_it_comes_before_normalising_and_stays_in_range():
    cfg = get_cfg_default()
    cfg.INPUT.TRANSFORMS = ("random_style", "normalize")
    cfg.INPUT.SIZE, cfg.INPUT.STYLE = (8, 8), (0.5, 0.0, 0.0, 0.0)
    cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD = list(MEAN), list(STD)
    image = Image.new("RGB", (8, 8), (102, 102, 102))  # 0.4
    steps = build_transform(cfg, is_train=True)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    greys = torch.stack([steps(image) * std + mean for _ in range(40)])[:, 0, 0, 0]
    assert 0.4 * 0.606 <= greys.min() < 0.32 and 0.5 < greys.max() <= 0.4 * 1.65
    plain = build_transform(cfg, is_train=False)(image)
    torch.testing.assert_close(plain * std + mean, torch.full((3, 8, 8), 0.4))


def test_its_strength_is_part_of_the_key_of_stored_views():
    texts = {describe_transform(RandomStyleOfOne(StyleStrength(gain=g))) for g in (0.3, 0.3, 0.4)}
    assert len(texts) == 2 and all("speckle=0.2" in text for text in texts)


@pytest.mark.parametrize("values", [(0.3, 0.3, 0.2), (0.3, 0.3, 0.2, 0.5, 1.0), (0.3, -0.1, 0, 0)])
def test_strengths_that_are_not_four_numbers_are_refused_by_name(values):
    cfg = get_cfg_default()
    cfg.INPUT.TRANSFORMS, cfg.INPUT.STYLE = ("random_style",), values
    with pytest.raises(UserError, match="INPUT.STYLE is .* give four numbers"):
        build_transform(cfg, is_train=True)
