"""Images of more than 8 bits: the range of their data set becomes 0-255."""

from __future__ import annotations

import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cerviclip.data.images.facts import facts_of
from dassl.errors import UserError
from dassl.utils import deep_images, read_image
from dassl.utils.deep_images import Windows, set_windows, usual_range

RAMP = np.linspace(0, 1, 32 * 16).reshape(32, 16)


@pytest.fixture(autouse=True)
def undeclared(monkeypatch):
    monkeypatch.setattr(deep_images, "_by_folder", {})


def levels(path) -> np.ndarray:
    return np.asarray(read_image(str(path)))


def write_tiff(path, values: np.ndarray, photometric: int, kind: int = 1, packed: bool = False):
    """A one-strip TIFF for what Pillow cannot write."""
    height, width, *rest = values.shape
    samples = rest[0] if rest else 1
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    data = zlib.compress(data) if packed else data
    tags = [(256, [width]), (257, [height]), (258, [8 * values.itemsize] * samples)]
    tags += [(259, [8 if packed else 1]), (262, [photometric]), (273, [8]), (277, [samples])]
    tags += [(278, [height]), (279, [len(data)]), (339, [kind] * samples)]
    at, ifd, blob = 8 + len(data), struct.pack("<H", len(tags)), b""
    for tag, numbers in tags:
        raw = struct.pack("<" + ("I" if tag in (273, 279) else "H") * len(numbers), *numbers)
        if len(raw) > 4:
            offset = at + 2 + 12 * len(tags) + 4 + len(blob)
            raw, blob = struct.pack("<I", offset), blob + raw
        kind_of = 4 if tag in (273, 279) else 3
        ifd += struct.pack("<HHI", tag, kind_of, len(numbers)) + raw.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", at)
    path.write_bytes(head + data + ifd + struct.pack("<I", 0) + blob)


def write_png(path, values: np.ndarray) -> None:
    """A PNG of 16 bits a channel: grey with alpha, RGB or RGBA by the number of channels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.mark.parametrize(
    ("lowest", "highest", "floats", "expected"),
    [
        (0, 4095, False, (0, 4095)),
        (3, 900, False, (0, 1023)),
        (0, 16383, False, (0, 16383)),
        (0, 25700, False, (0, 65535)),
        (32768, 36863, False, (32768, 36863)),
        (-1000, 2000, False, None),
        (0, 0.98, True, (0, 1)),
        (-0.01, 1.02, True, (0, 1)),
        (0, 256, True, (0, 255)),
        (0, 4095, True, (0, 4095)),
        (-1000, 2000, True, None),
        (-1, 1, True, None),
        (0, 3, True, None),  # optical densities
        (0, 900, True, (0, 1023)),
    ],
)
def test_conventions_are_known_by_the_values(lowest, highest, floats, expected):
    assert usual_range(lowest, highest, floats) == expected


def test_declared_range_holds_for_all_images_of_its_folder(tmp_path):
    inner = tmp_path / "centre"
    inner.mkdir()
    for folder in (tmp_path, inner):
        Image.fromarray((RAMP * 4095).astype(np.uint16)).save(folder / "a.tif")
    Image.fromarray((RAMP * 1000).astype(np.uint16)).save(tmp_path / "dim.png")
    set_windows(str(tmp_path), Windows(integers=(0, 4095)))
    set_windows(str(inner), Windows(integers=(0, 8190)))
    assert (
        levels(tmp_path / "a.tif").max() == 255
        and len(np.unique(levels(tmp_path / "a.tif"))) == 256
    )
    assert levels(tmp_path / "dim.png").max() == round(1000 * 255 / 4095)
    assert levels(inner / "a.tif").max() == 128


def test_a_dark_image_of_an_undeclared_range_is_warned_of(tmp_path):
    Image.fromarray((RAMP * 4095).astype(np.uint16)).save(tmp_path / "a.tif")
    with pytest.warns(UserWarning, match=r"a\.tif uses values up to 4095 of 65535.*INPUT.BITS"):
        assert levels(tmp_path / "a.tif").max() == 16


@pytest.mark.parametrize("form", ["png", "tiff", "packed tiff"])
def test_colour_of_16_bits_keeps_its_low_byte(tmp_path, form):
    values = (np.stack([RAMP, RAMP / 2, 1 - RAMP], -1) * 4095).astype(np.uint16)
    path = tmp_path / "a.img"
    if form == "png":
        write_png(path, values)
    else:
        write_tiff(path, values, photometric=2, packed=form != "tiff")
    set_windows(str(tmp_path), Windows(integers=(0, 4095)))
    assert np.array_equal(levels(path), np.rint(values * (255 / 4095)).astype(np.uint8))


def test_colour_of_full_16_bits_is_read_as_ever(tmp_path):
    values = (np.stack([RAMP, RAMP / 2, 1 - RAMP], -1) * 65535).astype(np.uint16)
    write_png(tmp_path / "a.png", values)
    assert np.array_equal(levels(tmp_path / "a.png"), values >> 8)


def test_signed_bytes_and_counting_from_white(tmp_path):
    signed = (RAMP * 255 - 128).astype(np.int8)
    write_tiff(tmp_path / "signed.tif", signed, photometric=1, kind=2)
    grey = (RAMP * 65535).astype(np.uint16)
    write_tiff(tmp_path / "white.tif", grey, photometric=0)
    set_windows(str(tmp_path), Windows(integers=(-128, 127)))
    assert np.array_equal(levels(tmp_path / "signed.tif")[..., 0], signed.astype(int) + 128)
    set_windows(str(tmp_path), Windows())
    assert np.array_equal(
        levels(tmp_path / "white.tif")[..., 0], np.rint((65535 - grey.astype(float)) / 257)
    )


def test_floats_without_a_convention_are_warned_of(tmp_path):
    Image.fromarray((RAMP * 3000 - 1000).astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.warns(UserWarning, match="own range of values, -1000 to 2000.*INPUT.WINDOW"):
        assert levels(tmp_path / "a.tif").max() == 255
    set_windows(str(tmp_path), Windows(floats=(-1000, 5000)))
    assert levels(tmp_path / "a.tif").max() == 128


def test_a_worker_that_starts_afresh_scales_alike(tmp_path, monkeypatch):
    from dassl.config import get_cfg_default
    from dassl.data.data_manager import DatasetWrapper

    set_windows(str(tmp_path), Windows(integers=(0, 4095)))
    text = pickle.dumps(DatasetWrapper(get_cfg_default(), [], None))
    monkeypatch.setattr(deep_images, "_by_folder", {})
    pickle.loads(text)
    assert deep_images.windows_of(str(tmp_path / "a.tif")).integers == (0, 4095)


@pytest.mark.parametrize("bits", [12, 16])
def test_grey_of_16_bits_with_alpha_keeps_its_low_byte_and_its_transparency(tmp_path, bits):
    grey = (RAMP * (2**bits - 1)).astype(np.uint16)
    alpha = np.where(np.arange(32)[:, None] < 8, 0, 65535) * np.ones((1, 16))
    write_png(tmp_path / "a.png", np.stack([grey, alpha], -1).astype(np.uint16))
    set_windows(str(tmp_path), Windows(integers=(0, 2**bits - 1)))
    expected = np.rint(grey * (255 / (2**bits - 1)))
    expected[:8] = 0
    assert np.array_equal(levels(tmp_path / "a.png")[..., 1], expected)


@pytest.mark.parametrize("top", [4095, 65535])
def test_transparent_pixels_of_16_bits_are_laid_over_black(tmp_path, top):
    values = np.full((32, 16, 4), top, np.uint16)
    values[..., 3] = 65535
    values[:8, :, 3] = 0
    write_png(tmp_path / "a.png", values)
    set_windows(str(tmp_path), Windows(integers=(0, top)))
    read = levels(tmp_path / "a.png")
    assert (read[:8] == 0).all() and (read[8:] == 255).all()


def test_integers_of_32_bits_without_a_sign(tmp_path):
    values = (RAMP * (2**32 - 1)).astype(np.uint32)
    write_tiff(tmp_path / "a.tif", values, photometric=1)
    set_windows(str(tmp_path), Windows(integers=(0, 2**32 - 1)))
    assert np.array_equal(levels(tmp_path / "a.tif")[..., 0], np.rint(values * (255 / (2**32 - 1))))


def test_colour_of_16_bits_in_planes_is_refused_rather_than_misread(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    planes = np.stack([RAMP, RAMP / 2, 1 - RAMP]) * 65535
    tifffile.imwrite(
        tmp_path / "a.tif",
        planes.astype(np.uint16),
        photometric="rgb",
        planarconfig="separate",
    )
    with pytest.raises(UserError, match=r"a\.tif .*separate planes.*interleaved"):
        read_image(str(tmp_path / "a.tif"))
    with pytest.raises(UserError, match="separate planes"):
        facts_of(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("kind", ["float64", "float16", "colour of floats"])
def test_a_tiff_that_no_reader_takes_is_named_with_the_way_out(tmp_path, kind):
    tifffile = pytest.importorskip("tifffile")
    values = np.stack([RAMP] * 3, -1).astype(np.float32) if "colour" in kind else RAMP.astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb" if "colour" in kind else None)
    with pytest.raises(UserError, match=r"a\.tif .*a TIFF that Pillow cannot read.*8 or 16 bits"):
        read_image(str(tmp_path / "a.tif"))
