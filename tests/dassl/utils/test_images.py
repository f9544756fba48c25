"""Reading images of any kind as RGB, and broken files found before and while reading."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from dassl.errors import MissingFileError, UserError
from dassl.utils import read_image
from dassl.utils.images import check_images, why_unreadable

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


@pytest.mark.parametrize("suffix", [".jp2", ".j2k"])
def test_jpeg_2000_is_read_in_both_its_forms(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    Image.fromarray(COLOUR).save(path, irreversible=False)
    check_images([str(path)])
    assert np.array_equal(np.asarray(read_image(str(path))), COLOUR)
    deep = tmp_path / f"deep{suffix}"
    Image.fromarray(GREY.astype(np.uint16) * 257).save(deep)
    assert np.array_equal(np.asarray(read_image(str(deep)))[..., 0], GREY)


def test_jpeg_2000_that_is_cut_off_or_cannot_be_decoded_is_named(tmp_path, monkeypatch):
    path = tmp_path / "image.jp2"
    Image.fromarray(COLOUR).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="image.jp2 cannot be read"):
        check_images([str(path)])
    path.write_bytes(whole)
    monkeypatch.setattr("dassl.utils.images.features.check", lambda name: False)
    with pytest.raises(UserError, match="is JPEG 2000, which this Pillow was built without"):
        check_images([str(path)])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_laid_over_black_whatever_colour_they_hide(tmp_path, mode):
    """Fault 29: pictures that look equal are read as equal."""
    read = []
    for hidden in (0, 200):
        grey = GREY.copy()
        grey[:10] = hidden
        path = tmp_path / f"{hidden}.png"
        if mode == "P":
            values = np.where(np.arange(20)[:, None] < 10, 5, 7).astype(np.uint8).repeat(30, 1)
            picture = Image.fromarray(values, "L")
            picture.putpalette([hidden] * 18 + [90] * 750)
            picture.save(path, transparency=5)
        else:
            alpha = np.where(np.arange(20)[:, None] < 10, 0, 255).astype(np.uint8).repeat(30, 1)
            layers = [grey, alpha] if mode == "LA" else [grey, grey, grey, alpha]
            Image.fromarray(np.dstack(layers), mode).save(path)
        read.append(np.asarray(read_image(str(path))))
    assert np.array_equal(*read) and (read[0][:10] == 0).all() and read[0][10:].any()


def test_alpha_that_is_nought_everywhere_hides_nothing(tmp_path):
    Image.fromarray(np.dstack([COLOUR, np.zeros_like(GREY)])).save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(read_image(str(tmp_path / "a.png"))), COLOUR)


def tagged(path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(COLOUR).save(
        path, exif=exif, **({"lossless": True} if path.suffix == ".webp" else {})
    )


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_followed_in_every_format(tmp_path, suffix, orientation):
    """Fault 14: TIFF was turned upright, the others were not."""
    path = tmp_path / f"turned{suffix}"
    tagged(path, orientation)
    expected = {
        1: COLOUR,
        2: COLOUR[:, ::-1],
        3: COLOUR[::-1, ::-1],
        4: COLOUR[::-1],
        5: COLOUR.transpose(1, 0, 2),
        6: np.rot90(COLOUR, -1),
        7: COLOUR[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(COLOUR),
    }[orientation]
    assert np.array_equal(np.asarray(read_image(str(path))), expected)


def test_damaged_exif_data_turn_nothing(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "odd.png", exif=b"Exif\0\0no such thing")
    assert np.array_equal(np.asarray(read_image(str(tmp_path / "odd.png"))), COLOUR)


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


@pytest.mark.parametrize("told", [0, 999999, 0xFFFFFFFF])
def test_a_bmp_is_judged_by_its_pixels_not_by_the_size_it_states(tmp_path, told):
    """Fault 48."""
    path = tmp_path / "odd.bmp"
    Image.fromarray(COLOUR).save(path)
    content = bytearray(path.read_bytes())
    content[2:6] = told.to_bytes(4, "little")
    path.write_bytes(content)
    check_images([str(path)])
    assert np.array_equal(np.asarray(read_image(str(path))), COLOUR)
    path.write_bytes(content[:400])
    with pytest.raises(UserError, match="truncated BMP"):
        check_images([str(path)])


def test_a_picture_above_the_limit_is_named_with_the_way_out(tmp_path, monkeypatch):
    """Fault 47."""
    Image.fromarray(COLOUR).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"large\.png.*limit.*set CERVICLIP_MAX_PIXELS"):
        read_image(str(tmp_path / "large.png"))


def test_floats_that_are_no_numbers_are_refused_by_name(tmp_path):
    """Fault 15: one inf made all other pixels black."""
    values = GREY.astype(np.float32) / 255
    values[3, 4] = np.inf
    Image.fromarray(values).save(tmp_path / "inf.tif")
    with pytest.raises(UserError, match=r"inf\.tif.*1 of its 600 values are NaN or infinite"):
        read_image(str(tmp_path / "inf.tif"))


def test_a_pipe_is_no_image_and_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    for name in ("a.png", "b.png"):
        with pytest.raises(UserError, match=f"{name} is no file, but a folder, a pipe"):
            check_images([str(tmp_path / name)])


def test_a_limit_that_is_no_number_is_named_where_it_would_count(monkeypatch):
    """``CERVICLIP_MAX_PIXELS=1e9`` was passed over in silence."""
    monkeypatch.setenv("CERVICLIP_MAX_PIXELS", "1e9")
    told = why_unreadable(Image.DecompressionBombError())
    assert told.endswith("its number of pixels (it is '1e9', no whole number)")
    monkeypatch.setenv("CERVICLIP_MAX_PIXELS", "200000000")
    assert why_unreadable(Image.DecompressionBombError()).endswith("its number of pixels")


@pytest.mark.parametrize(
    "start, kind", [(b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff\xe0", "JPEG")]
)
def test_a_file_that_begins_as_an_image_is_called_damaged(tmp_path, start, kind):
    path = tmp_path / "cut.img"
    path.write_bytes(start + b"rubbish" * 9)
    told = why_unreadable(UnidentifiedImageError(), path)
    assert told.startswith(f"it begins as a {kind}, and what follows is damaged")
