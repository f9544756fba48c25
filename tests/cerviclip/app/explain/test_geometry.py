"""A map lies on the image where the model saw it, for each way of resizing, cropping, padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Lambda, RandomCrop, Resize, ToTensor
from torchvision.transforms.functional import InterpolationMode

from cerviclip.app.explain.geometry import ViewGeometry
from dassl.data.transforms.transforms import ResizeLonger
from dassl.errors import UserError

BILINEAR = InterpolationMode.BILINEAR
FITS = {
    "shortest": Compose([Resize(48, BILINEAR), CenterCrop((48, 48)), ToTensor()]),
    "longest": Compose([ResizeLonger(48, BILINEAR), CenterCrop((48, 48)), ToTensor()]),
    "squash": Compose([Resize((48, 48), BILINEAR), ToTensor()]),
    "larger, then cropped": Compose([Resize(64, BILINEAR), CenterCrop((48, 48)), ToTensor()]),
}


def blob(size: tuple[int, int], center: tuple[float, float], sigma: float) -> Image.Image:
    """A bright spot at (x, y) on black."""
    y, x = np.mgrid[: size[1], : size[0]]
    light = np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * sigma**2))
    return Image.fromarray((255 * light).astype(np.uint8)).convert("RGB")


def middle(light: np.ndarray) -> tuple[float, float]:
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    return float((x * light).sum() / light.sum()), float((y * light).sum() / light.sum())


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(200, 120), (90, 140), (48, 48), (31, 30)])
def test_what_the_view_holds_comes_back_to_its_place(fit, size):
    center = (0.42 * size[0], 0.61 * size[1])
    image = blob(size, center, min(size) / 12)
    view = FITS[fit](image)
    geometry = ViewGeometry.of(FITS[fit], image, tuple(view.shape[1:]))
    back = geometry.to_image(view[0].numpy())
    assert back.shape == (size[1], size[0]) and back.dtype == np.float32
    np.testing.assert_allclose(middle(back), center, atol=max(0.3, max(size) / 200))
    top, left, bottom, right = geometry.seen_box()
    outside = np.ones_like(back, bool)
    outside[top:bottom, left:right] = False
    assert not back[outside].any()
    whole = geometry.to_image(np.ones(view.shape[1:]))
    np.testing.assert_allclose(whole[top:bottom, left:right], 1, atol=1e-6)


def test_the_seen_part_is_the_crop():
    image = Image.new("RGB", (200, 100))
    geometry = ViewGeometry.of(FITS["shortest"], image, (48, 48))
    assert geometry.seen_box() == (0, 50, 100, 150)
    assert ViewGeometry.of(FITS["longest"], image, (48, 48)).seen_box() == (0, 0, 100, 200)


def test_steps_that_cannot_be_traced_are_refused():
    unknown = Compose([ToTensor(), Lambda(lambda x: torch.zeros(3, 48, 48))])
    with pytest.raises(UserError, match="48x48 px of 60x50 px"):
        ViewGeometry.of(unknown, Image.new("RGB", (60, 50)), (48, 48))
    with pytest.raises(UserError, match="RandomCrop"):
        ViewGeometry.of(Compose([RandomCrop(48)]), Image.new("RGB", (60, 50)), (48, 48))
