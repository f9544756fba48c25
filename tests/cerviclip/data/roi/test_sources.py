"""Mask files: any suffix, any mode, and as their image lies."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cerviclip.data.roi.sources import MaskFiles, existing_mask, read_mask
from dassl.errors import UserError
from dassl.utils import read_image

MASK = np.zeros((20, 30), np.uint8)
MASK[12:, :7] = 1


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x112] = orientation
    return data


@pytest.fixture(params=[3, 6, 8])
def turned(request, tmp_path):
    """An image that its EXIF data turn, the same picture upright, and the orientation."""
    path = tmp_path / "images/a.png"
    path.parent.mkdir()
    (tmp_path / "masks").mkdir()
    Image.fromarray(MASK * 200).save(path, exif=exif(request.param))
    return path, np.asarray(read_image(str(path)).convert("L")) > 0, request.param


def test_a_mask_with_the_images_own_tag_is_turned_with_it(turned, tmp_path):
    """Fault 14."""
    path, upright, orientation = turned
    Image.fromarray(MASK).save(tmp_path / "masks/a.png", exif=exif(orientation))
    assert np.array_equal(MaskFiles()(str(path), upright), upright)


def test_a_mask_without_a_tag_lies_as_it_fits(turned, tmp_path):
    path, upright, orientation = turned
    Image.fromarray(upright).save(tmp_path / "drawn.png")
    assert np.array_equal(read_mask(tmp_path / "drawn.png", path, upright.shape), upright)
    if orientation != 3:  # upside down fits either way and is taken as drawn
        Image.fromarray(MASK).save(tmp_path / "stored.png")
        assert np.array_equal(read_mask(tmp_path / "stored.png", path, upright.shape), upright)


def test_a_mask_of_another_shape_is_refused(tmp_path):
    Image.fromarray(MASK).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="a.png is 30x20 px but its image .* is 20x30 px"):
        read_mask(tmp_path / "a.png", tmp_path / "no.png", (30, 20))


def test_masks_of_other_suffixes_are_found(tmp_path):
    """Fault 24: only .png was looked for, without saying so."""
    Image.fromarray(MASK * 255).save(tmp_path / "a.tif")
    assert existing_mask(tmp_path / "a.png") == tmp_path / "a.tif"
    assert existing_mask(tmp_path / "b.png") == tmp_path / "b.png"
