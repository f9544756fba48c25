"""Random styles: within their strengths, one per image, and nothing where all are 0."""

from __future__ import annotations

import pytest
import torch

from dassl.data.transforms.style import RandomStyle, StyleStrength

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
