"""Damaged image files: the reader, the check of a data set and the predictor say one line."""

from __future__ import annotations

import io
import itertools
import zlib

import numpy as np
import pytest
from fuzz.bounds import bounded, call, examples, refused_or
from fuzz.mutations import broken
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cerviclip.data.images.facts import facts_of
from cerviclip.data.roi.sources import mask_values
from dassl.utils.images import check_images, decode_image

# Pillow warns of damaged tags, and we of 16-bit images of few bits.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def whole_files() -> dict[str, bytes]:
    """A small file of each kind that a microscope, a scanner or a phone writes."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    grey, deep = rgb.convert("L"), rng.integers(0, 4096, (16, 16), dtype=np.uint16)
    frames = [rgb, rgb.transpose(Image.Transpose.ROTATE_180), rgb]
    turned = Image.Exif()
    turned[0x0112] = 6
    several = {"save_all": True, "append_images": frames[1:]}
    return {
        "png": _saved(rgb, "PNG", exif=turned),
        "png_palette": _saved(rgb.convert("P"), "PNG", transparency=3),
        "png_alpha": _saved(rgb.convert("RGBA"), "PNG"),
        "png_16": _saved(Image.fromarray(deep), "PNG"),
        "png_frames": _saved(rgb, "PNG", **several),
        "jpeg": _saved(rgb, "JPEG", exif=turned),
        "jpeg_progressive": _saved(rgb, "JPEG", progressive=True),
        "jpeg_cmyk": _saved(rgb.convert("CMYK"), "JPEG"),
        "bmp": _saved(rgb, "BMP"),
        "bmp_palette": _saved(rgb.convert("P"), "BMP"),
        "tiff": _saved(rgb, "TIFF"),
        "tiff_lzw": _saved(rgb, "TIFF", compression="tiff_lzw"),
        "tiff_16": _saved(Image.fromarray(deep), "TIFF"),
        "tiff_float": _saved(Image.fromarray(rng.random((16, 16), dtype=np.float32)), "TIFF"),
        "tiff_pages": _saved(rgb, "TIFF", **several),
        "webp": _saved(rgb, "WEBP"),
        "webp_frames": _saved(rgb, "WEBP", lossless=True, **several),
        "gif": _saved(grey.convert("P"), "GIF", **several),
        "ppm": _saved(rgb, "PPM"),
    }


FILES = whole_files()


def png_of(width: int, height: int, rows: int, mode: int = 2, bits: int = 8) -> bytes:
    """A PNG that states its size as it likes; ``rows`` lines of zeros are in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, mode, 0, 0, 0])
    line = 1 + width * {0: 1, 2: 3, 6: 4}[mode] * bits // 8
    data = zlib.compress(bytes(line * rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_image_is_read_as_rgb_or_refused_in_a_line(size, tmp_path, kind):
    names = (tmp_path / f"{n}.{kind.partition('_')[0]}" for n in itertools.count())

    @examples(size, 27, 100)
    @given(broken(FILES[kind]))
    def check(content):
        path = str(next(names))  # what was seen of a path is kept
        with open(path, "wb") as file:
            file.write(content)
        image = refused_or(lambda: decode_image(path))
        if image is not None:
            assert image.mode == "RGB" and 0 < image.width * image.height <= MOST_PIXELS
            again = decode_image(path)
            assert np.array_equal(np.asarray(image), np.asarray(again))
        refused_or(lambda: check_images([path]) or True)
        refused_or(lambda: facts_of(path))
        refused_or(lambda: mask_values(path))

    check()


@pytest.mark.parametrize("kind", FILES)
def test_the_whole_files_are_read(tmp_path, kind):
    path = tmp_path / f"whole.{kind.partition('_')[0]}"
    path.write_bytes(FILES[kind])
    assert decode_image(str(path)).mode == "RGB"


@pytest.mark.parametrize(
    "content",
    [
        png_of(2**31 - 1, 2**31 - 1, 0),
        png_of(60_000, 60_000, 0),
        png_of(12_000, 12_000, 3, mode=0, bits=16),
        png_of(0, 5, 0),
        b"BM" + b"\xff" * 60,
        b"BM" + b"\0" * 60,
        b"II*\0" + b"\xff" * 200,
        b"MM\0*\0\0\0\x08\xff\xff" + b"\0" * 300,
        b"GIF89a" + b"\xff" * 100,
        b"RIFF\xff\xff\xff\xffWEBPVP8L" + b"\xff" * 50,
        b"P6 99999 99999 255\n",
        b"\xff\xd8" + b"\xff\xe1\xff\xff" * 40,
    ],
)
def test_a_small_file_that_states_a_huge_image_takes_no_memory(tmp_path, content):
    path = tmp_path / "bomb.png"
    path.write_bytes(content)
    with bounded(memory=1 << 30):
        assert refused_or(lambda: decode_image(str(path))) is None
        refused_or(lambda: check_images([str(path)]) or True)


def test_the_check_of_a_folder_names_damaged_files(size, tmp_path):
    names = itertools.count()

    @examples(size, 1, 7)
    @given(st.data())
    def check(data):
        folder = tmp_path / f"set{next(names)}"
        for name in ("a", "b"):
            (folder / name).mkdir(parents=True)
            for i, kind in enumerate(FILES):
                content = data.draw(st.one_of(st.just(FILES[kind]), broken(FILES[kind])))
                (folder / name / f"{i}.{kind.partition('_')[0]}").write_bytes(content)
        call(["check", str(folder)])

    check()
