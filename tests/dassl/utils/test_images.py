"""Reading images of any kind as RGB, and broken files found before and while reading."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dassl.errors import MissingFileError, UserError
from dassl.utils import read_image
from dassl.utils.images import check_images

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "CMYK"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg"])
def test_eight_bit_images_are_read_as_upstream_reads_them(tmp_path, mode, suffix):
    path = tmp_path / f"image{suffix}"
    picture = Image.fromarray(COLOUR).convert(mode)
    try:
        picture.save(path)
    except (OSError, KeyError):
        pytest.skip(f"{suffix} does not hold mode {mode}")
    assert read_image(str(path)).tobytes() == Image.open(path).convert("RGB").tobytes()


def test_palette_with_transparency_warns_of_nothing(tmp_path):
    path = tmp_path / "p.png"
    picture = Image.fromarray(COLOUR).convert("P")
    picture.save(path, transparency=bytes(range(256)))
    expected = np.asarray(picture.convert("RGB"))
    assert np.array_equal(np.asarray(read_image(str(path))), expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path)
    got = np.asarray(read_image(str(path)))
    assert got.dtype == np.uint8 and np.array_equal(got, np.stack([GREY] * 3, axis=-1))


def test_sixteen_bits_are_scaled_the_same_in_every_image(tmp_path):
    Image.fromarray(np.full((4, 4), 25700, np.uint16)).save(tmp_path / "dim.png")
    assert np.unique(np.asarray(read_image(str(tmp_path / "dim.png")))).tolist() == [100]


@pytest.mark.parametrize("factor", [1 / 255, 1.0, 257.0])
def test_float_images(tmp_path, factor):
    path = tmp_path / "float.tif"
    values = GREY.copy()
    values[0, 0] = 255
    Image.fromarray(values.astype(np.float32) * np.float32(factor)).save(path)
    assert np.array_equal(np.asarray(read_image(str(path)))[..., 0], values)


def broken_files(folder):
    whole = folder / "whole.png"
    Image.fromarray(COLOUR).save(whole)
    jpeg = folder / "whole.jpg"
    Image.fromarray(COLOUR).save(jpeg)
    bitmap = folder / "whole.bmp"
    Image.fromarray(COLOUR).save(bitmap)
    contents = {
        "cut.png": whole.read_bytes()[:-200],
        "cut.jpg": jpeg.read_bytes()[:-100],
        "cut.bmp": bitmap.read_bytes()[:-100],
        "empty.png": b"",
        "text.png": b"this is not an image at all",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [whole, jpeg, bitmap], [folder / name for name in contents]


def test_broken_files_are_found_by_a_glance_and_by_reading(tmp_path):
    whole, broken = broken_files(tmp_path)
    check_images(map(str, whole))
    for path in broken:
        with pytest.raises(UserError, match=path.name) as glance:
            check_images([str(path)])
        assert "\n" not in str(glance.value)
        with pytest.raises(UserError, match=path.name) as reading:
            read_image(str(path))
        assert "\n" not in str(reading.value)


def test_missing_files(tmp_path):
    for function in (read_image, lambda path: check_images([path])):
        with pytest.raises(MissingFileError, match="gone.png"):
            function(str(tmp_path / "gone.png"))


def test_a_file_broken_after_the_first_glance_is_found(tmp_path):
    path = tmp_path / "later.png"
    Image.fromarray(COLOUR).save(path)
    check_images([str(path)])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="truncated"):
        check_images([str(path)])
