"""The image cache: the same bits, bounded, fresh after a change, and off by default."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as T

from cerviclip.data.images import cache as image_cache
from cerviclip.data.images.cache import ImageCache, PlainPixels
from dassl.errors import MissingFileError
from dassl.utils import read_image
from helpers import write_images

PLAIN = T.Compose(
    [
        T.Resize(24, interpolation=T.InterpolationMode.BICUBIC),
        T.CenterCrop(20),
        T.ToTensor(),
        T.Normalize((0.48, 0.45, 0.4), (0.26, 0.27, 0.28)),
    ]
)


@pytest.fixture
def paths(tmp_path):
    image_cache.disable()  # a sweep of another test in this process leaves it on
    yield [str(p) for p in write_images(tmp_path, {"a": 4}, size=33)]
    image_cache.disable()


def test_off_until_enabled(paths):
    assert image_cache.active() is None
    cache = image_cache.enable()
    read_image(paths[0])
    assert cache.misses == 1
    image_cache.disable()
    read_image(paths[0])
    assert (cache.misses, cache.hits) == (1, 0)


def test_decoded_bits_are_pillows_and_the_callers_own(paths):
    image_cache.enable()
    with Image.open(paths[0]) as image:
        pixels = np.array(image.convert("RGB"))
    for _ in range(2):
        mine = read_image(paths[0])
        assert np.array_equal(np.array(mine), pixels)
        mine.putpixel((0, 0), (1, 2, 3))  # must not reach the next reader


def test_a_changed_file_is_decoded_again(paths):
    image_cache.enable()
    before = np.array(read_image(paths[0]))
    Image.fromarray(255 - before).resize((40, 33)).save(paths[0])
    assert np.array(read_image(paths[0])).shape == (33, 40, 3)


def test_missing_files_keep_their_message(paths):
    image_cache.enable()
    with pytest.raises(MissingFileError, match="nowhere.png does not exist"):
        read_image("nowhere.png")


def test_bounded_and_the_longest_unused_goes_first(paths):
    size = 33 * 33 * 3
    cache = ImageCache(max_bytes=2 * size)
    for path in (paths[0], paths[1], paths[0], paths[2]):
        cache.image(path, Image.open)
    assert cache.bytes == 2 * size
    hits = cache.hits
    cache.image(paths[0], Image.open)
    assert cache.hits == hits + 1
    cache.image(paths[1], Image.open)
    assert cache.misses == 4
    small = ImageCache(max_bytes=10)
    small.image(paths[0], Image.open)
    assert small.bytes == 0


@pytest.mark.parametrize("on", [False, True])
def test_plain_pixels_are_the_transforms_bits(paths, on):
    if on:
        image_cache.enable()
    wanted = torch.stack([PLAIN(Image.open(p).convert("RGB")) for p in paths])
    pixels = PlainPixels(PLAIN)
    for _ in range(2):
        assert torch.equal(pixels.tensor([pixels.bytes_of(p) for p in paths]), wanted)
    no_norm = T.Compose(PLAIN.transforms[:-1])
    pixels = PlainPixels(no_norm)
    wanted = torch.stack([no_norm(Image.open(p).convert("RGB")) for p in paths])
    assert torch.equal(pixels.tensor([pixels.bytes_of(p) for p in paths]), wanted)


def test_random_or_other_transforms_are_not_taken_apart():
    for steps in (
        [T.RandomResizedCrop(20), T.ToTensor()],
        [T.Resize(20)],
        [T.Resize(20), T.ToTensor(), T.RandomErasing()],
    ):
        assert not PlainPixels.possible(T.Compose(steps))
    with pytest.raises(ValueError, match="not a plain test transform"):
        PlainPixels(T.Compose([T.Resize(20)]))
