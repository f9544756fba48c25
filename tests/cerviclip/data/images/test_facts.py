"""What files say of their pictures, and what that does to ranges, keys and warnings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from cerviclip.data.files.hashes import HashCache
from cerviclip.data.images.cache import ImageCache
from cerviclip.data.images.facts import (
    check_shapes,
    declare_windows,
    describe_pictures,
    facts_of,
    facts_of_all,
    odd_pictures,
    reading_of,
)
from dassl.errors import UserError
from dassl.utils import deep_images, read_image
from dassl.utils.deep_images import windows_of

RAMP = np.linspace(0, 1, 24 * 16).reshape(24, 16)
COLOUR = np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def undeclared(monkeypatch):
    monkeypatch.setattr(deep_images, "_by_folder", {})


def save(path, values, **options) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return str(path)


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x112] = orientation
    return data


def peak(path: str) -> int:
    return int(np.asarray(read_image(path)).max())


@pytest.mark.parametrize(
    ("highest", "window"),
    [(255, (0, 255)), (1023, (0, 1023)), (4095, (0, 4095)), (16000, (0, 16383))],
)
def test_bits_in_use_are_seen_over_the_data_set(tmp_path, highest, window):
    """Fault 15: a dim image keeps its place beside the brightest."""
    paths = [
        save(tmp_path / "dim.png", (RAMP * highest / 4).astype(np.uint16)),
        save(tmp_path / "full.png", (RAMP * highest).astype(np.uint16)),
    ]
    (said,) = declare_windows("Mine", str(tmp_path), facts_of_all(paths))
    assert f"values 0 to {highest} in 2 images" in said and "INPUT.BITS" in said
    assert windows_of(paths[0]).integers == window
    assert abs(peak(paths[0]) - highest / 4 * 255 / window[1]) < 1 < 200 < peak(paths[1])


def test_full_16_bits_are_what_they_were_and_nothing_is_said(tmp_path):
    values = (RAMP * 65535).astype(np.uint16)
    path = save(tmp_path / "a.png", values)
    assert (
        declare_windows("Mine", str(tmp_path), facts_of_all([path])) == []
        and reading_of(path) == ""
    )
    assert np.array_equal(np.asarray(read_image(path))[..., 0], np.rint(values * (255 / 65535)))


def test_values_counted_from_32768(tmp_path):
    path = save(tmp_path / "a.tif", (32768 + RAMP * 4095).astype(np.uint16))
    assert len(declare_windows("Mine", str(tmp_path), facts_of_all([path]))) == 1
    assert np.asarray(read_image(path)).min() == 0 and peak(path) == 255


@pytest.mark.parametrize(
    ("scale", "offset", "window", "warned"),
    [
        (0.98, 0, (0, 1), False),
        (1.02, 0, (0, 1), False),
        (256, 0, (0, 255), False),
        (3000, -1000, (-1000, 2000), True),
    ],
)
def test_floats_share_one_range(tmp_path, scale, offset, window, warned):
    path = save(tmp_path / "a.tif", (RAMP * scale + offset).astype(np.float32))
    assert bool(declare_windows("Mine", str(tmp_path), facts_of_all([path]))) == warned
    assert windows_of(path).floats == window and peak(path) >= 249


def test_a_setting_says_the_range(tmp_path):
    path = save(tmp_path / "a.png", (RAMP * 900).astype(np.uint16))
    assert declare_windows("Mine", str(tmp_path), facts_of_all([path]), bits=12) == []
    assert windows_of(path).integers == (0, 4095)
    assert declare_windows("Mine", str(tmp_path), facts_of_all([path]), window=(0, 1800)) == []
    assert peak(path) in (127, 128)
    for options in ({"window": (5,)}, {"window": (5, 5)}, {"bits": 40}):
        with pytest.raises(UserError, match=r"INPUT\.(WINDOW|BITS)"):
            declare_windows("Mine", str(tmp_path), facts_of_all([path]), **options)


def test_infinite_values_are_refused_by_name_before_training(tmp_path):
    path = save(tmp_path / "a.tif", np.where(RAMP > 0.9, np.inf, RAMP).astype(np.float32))
    with pytest.raises(UserError, match=r"a\.tif.*NaN or infinite"):
        declare_windows("Mine", str(tmp_path), facts_of_all([path]))


def test_only_what_is_read_otherwise_gets_another_key(tmp_path):
    """Stored rows of ordinary images must be found again."""
    alpha = np.full((24, 16), 255, np.uint8)
    holed = alpha.copy()
    holed[0] = 0
    plain = [
        save(tmp_path / "a.png", COLOUR),
        save(tmp_path / "b.jpg", COLOUR),
        save(tmp_path / "c.png", np.dstack([COLOUR, alpha])),
        save(tmp_path / "d.png", COLOUR, exif=exif(1)),
        save(tmp_path / "e.tif", COLOUR, exif=exif(6)),  # Pillow turned it before, too
        save(tmp_path / "f.png", (RAMP * 65535).astype(np.uint16)),
    ]
    other = [
        save(tmp_path / "g.png", COLOUR, exif=exif(6)),
        save(tmp_path / "h.jpg", COLOUR, exif=exif(3)),
        save(tmp_path / "i.png", np.dstack([COLOUR, holed])),
    ]
    hashes = HashCache(None)
    assert all(hashes.pixels(path) == hashes.sha256(path) for path in plain)
    assert all(hashes.pixels(path) != hashes.sha256(path) for path in other)
    deep = save(tmp_path / "deep/a.png", (RAMP * 4095).astype(np.uint16))
    keys = []
    for bits in (0, 12, 14):
        declare_windows("Mine", str(tmp_path / "deep"), facts_of_all([deep]), bits=bits)
        keys.append(hashes.pixels(deep))
    assert keys[0] == keys[1] != keys[2] and hashes.sha256(deep) not in keys


def test_an_orientation_behind_a_pngs_pixels_is_found(tmp_path):
    path = save(tmp_path / "a.png", COLOUR, exif=exif(6))
    content = Path(path).read_bytes()
    start = content.index(b"eXIf") - 4
    length = int.from_bytes(content[start : start + 4], "big") + 12
    end = content.index(b"IEND") - 4
    moved = content[:start] + content[start + length : end] + content[start : start + length]
    Path(path).write_bytes(moved + content[end:])
    assert facts_of(path).orientation == 6 and read_image(path).size == (24, 16)


def test_images_kept_in_memory_follow_the_range(tmp_path):
    path = save(tmp_path / "a.png", (RAMP * 4095).astype(np.uint16))
    cache, peaks = ImageCache(), []
    for bits in (12, 13):
        declare_windows("Mine", str(tmp_path), facts_of_all([path]), bits=bits)
        peaks.append(np.asarray(cache.image(path, read_image)).max())
    assert peaks == [255, 127]


def test_thin_pictures_are_refused_by_name(tmp_path):
    """Fault 42."""
    paths = [save(tmp_path / "thin.png", np.zeros((600, 2, 3), np.uint8))]
    with pytest.raises(UserError, match=r"thin\.png is 2x600 px.*crop it"):
        check_shapes(facts_of_all(paths))
    check_shapes(facts_of_all([save(tmp_path / "long.png", np.zeros((600, 20, 3), np.uint8))]))


def test_odd_pictures_are_counted_with_one_of_them(tmp_path):
    """Faults 14, 15, 29 and pages that nobody reads."""
    pages = [Image.fromarray(COLOUR), Image.fromarray(COLOUR)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    half = np.dstack([COLOUR, np.linspace(0, 255, 24 * 16).reshape(24, 16).astype(np.uint8)])
    paths = [
        str(tmp_path / "pages.tif"),
        save(tmp_path / "half.png", half),
        save(tmp_path / "turned.jpg", COLOUR, exif=exif(8)),
        save(tmp_path / "deep.png", (RAMP * 65535).astype(np.uint16)),
        save(tmp_path / "plain.png", COLOUR),
    ]
    known = facts_of_all(paths)
    said = odd_pictures("Mine", known)
    for name, word in {
        "pages": "pages",
        "half": "over black",
        "turned": "upright",
        "deep": "8 bits",
    }.items():
        assert any(f"1 of 5 images (such as {tmp_path / name}" in s and word in s for s in said)
    assert odd_pictures("Mine", {paths[4]: known[paths[4]]}) == []
    assert "16x24 px" in describe_pictures(known) and "RGB (3)" in describe_pictures(known)


def test_images_of_different_colour_profiles_are_named(tmp_path):
    def profile(kind):
        return ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()

    plain = save(tmp_path / "plain.png", COLOUR)
    usual = save(tmp_path / "usual.jpg", COLOUR, icc_profile=profile("sRGB"))
    assert facts_of(plain).profile == facts_of(usual).profile == ""
    assert odd_pictures("Smears", facts_of_all([plain, usual])) == []
    other = save(tmp_path / "other.tif", COLOUR, icc_profile=profile("XYZ"))
    assert "XYZ" in facts_of(other).profile
    (said,) = odd_pictures("Smears", facts_of_all([plain, usual, other]))
    assert "2 none or sRGB, 1 XYZ" in said and "taken as they are" in said
    assert np.array_equal(np.asarray(read_image(other)), COLOUR)
    broken = save(tmp_path / "broken.png", COLOUR, icc_profile=b"no profile")
    assert facts_of(broken).profile == "a profile that cannot be read"
