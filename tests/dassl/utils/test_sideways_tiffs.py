"""TIFFs on their side: the same picture as upright, whichever way Pillow would read them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cerviclip.app.pictures import open_with_note
from cerviclip.data.images.facts import facts_of, reading_of
from dassl.utils.deep_images import Windows, not_mapped, open_image
from dassl.utils.images import opened, read_image, to_rgb, upright

TURNS = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def picture_of(mode: str) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(values).convert(mode)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("orientation", TURNS)
def test_a_tiff_on_its_side_is_the_upright_picture(tmp_path, mode, orientation):
    """Pillow maps an uncompressed one with width and height exchanged: a torn picture."""
    upright_file, file = tmp_path / "upright.tif", tmp_path / "turned.tif"
    picture = picture_of(mode)
    picture.save(upright_file)
    picture.transpose(TURNS[orientation]).save(file, tiffinfo={0x0112: orientation})
    truth = np.asarray(read_image(str(upright_file)))
    assert facts_of(str(file)).size == (30, 20)
    # Stored features of the torn picture are not those of this one.
    assert ("from its side" in reading_of(str(file))) == (mode != "RGB")
    assert "from its side" not in reading_of(str(upright_file))
    with Image.open(file) as of_the_callers:
        ways = (
            read_image(str(file)),
            open_with_note(file, Windows())[0],
            to_rgb(of_the_callers, str(file)),
        )
    for read in ways:
        np.testing.assert_array_equal(np.asarray(read), truth)


def test_a_mask_on_its_side_keeps_its_values(tmp_path):
    mask = picture_of("L")
    mask.transpose(TURNS[6]).save(tmp_path / "mask.tif", tiffinfo={0x0112: 6})
    with opened(tmp_path / "mask.tif", "mask") as image:
        np.testing.assert_array_equal(np.asarray(upright(image)), np.asarray(mask))


def test_a_damaged_tag_is_left_to_the_decoder(tmp_path):
    picture_of("L").save(tmp_path / "a.tif")
    image = open_image(tmp_path / "a.tif")

    class Damaged:
        def get(self, tag):
            raise SyntaxError("no such type")

    image.tag_v2 = Damaged()
    assert not_mapped(image) is image and image.filename
    image.close()
