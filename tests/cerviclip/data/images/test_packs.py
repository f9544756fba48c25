"""Packs: the very pixels that decoding gives; stale ones; writing that is broken off."""

from __future__ import annotations

import errno
import os
import pickle
from types import SimpleNamespace

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from torchvision import transforms as T

from cerviclip.data.images import cache as image_cache
from cerviclip.data.images import packing
from cerviclip.data.images.cache import PlainPixels
from cerviclip.data.images.packing import (
    Wanted,
    describe_use,
    use_pack,
    wanted_of,
    write_pack,
)
from cerviclip.data.images.packs import MARK, Pack
from cerviclip.data.images.steps import DECODED, first_steps, steps_text
from cerviclip.features.pixels import ImageView, PixelReader
from cerviclip.runs.settings.config_hash import config_hash
from dassl.config import get_cfg_default
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import Datum
from dassl.data.transforms import build_transform
from dassl.data.transforms.transforms import ResizeLonger, ShrinkShorter
from dassl.errors import MissingFileError, UserError
from dassl.utils import set_random_seed
from dassl.utils.deep_images import Windows, set_windows
from dassl.utils.images import decode_image
from helpers import write_images

BILINEAR = T.InterpolationMode.BILINEAR


@pytest.fixture
def paths(tmp_path):
    image_cache.disable()
    yield [str(p) for p in write_images(tmp_path / "images", {"a": 6, "b": 6}, size=50)]
    image_cache.disable()


def cfg_of(**options):
    cfg = get_cfg_default()
    cfg.INPUT.SIZE, cfg.DATALOADER.NUM_WORKERS = (24, 24), 0
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "colorjitter", "normalize")
    for key, value in options.items():
        cfg.INPUT[key] = value
    return cfg


def packed_for(paths, folder, *transforms):
    wanted = {}
    for transform in transforms:
        steps, _ = first_steps(transform)
        wanted[steps_text(steps)] = Wanted(steps, list(paths))
    write_pack(folder, wanted, threads=2)
    return Pack(folder)


def epoch(cfg, paths, transform, is_train):
    """Batches of an epoch from the same seed, and what the generators give next."""
    items = [Datum(path, i % 2) for i, path in enumerate(paths)]
    set_random_seed(3)
    sampler = "RandomSampler" if is_train else "SequentialSampler"
    loader = build_data_loader(cfg, sampler, items, batch_size=4, tfm=transform, is_train=is_train)
    batches = list(loader)
    return batches, (torch.rand(1).item(), np.random.rand())


def same(a, b):
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("is_train", [True, False])
@pytest.mark.parametrize("first", [0, 32])
@pytest.mark.parametrize("views", [1, 2])
def test_a_seeded_epoch_is_the_same_to_the_bit(
    paths, tmp_path, is_train, first, views, no_decoding
):
    cfg = cfg_of(RESIZE_FIRST=first)
    cfg.DATALOADER.K_TRANSFORMS, cfg.DATALOADER.RETURN_IMG0 = views, False
    transform = build_transform(cfg, is_train=is_train)
    plain = epoch(cfg, paths, transform, is_train)
    pack = packed_for(paths, tmp_path / "pack", transform)
    use_pack(image_cache.enable(), str(pack.folder))
    with no_decoding():
        packed = epoch(cfg, paths, transform, is_train)
    assert plain[1] == packed[1]
    for one, other in zip(plain[0], packed[0], strict=True):
        assert all(same(one[key], other[key]) for key in one), one.keys()


def test_several_transforms_and_the_plain_image_are_the_same_to_the_bit(
    paths, tmp_path, no_decoding
):
    cfg = cfg_of(TRANSFORMS=("random_flip", "normalize"))
    cfg.DATALOADER.RETURN_IMG0 = True
    both = [build_transform(cfg), build_transform(cfg_of(), is_train=True)]
    resized = T.Compose([T.Resize(cfg.INPUT.SIZE, interpolation=BILINEAR), T.ToTensor()])
    plain, _ = epoch(cfg, paths, both, True)
    pack = packed_for(paths, tmp_path / "pack", *both, resized)
    use_pack(image_cache.enable(), str(pack.folder))
    with no_decoding():
        packed, _ = epoch(cfg, paths, both, True)
    for one, other in zip(plain, packed, strict=True):
        assert {"img", "img2", "img0"} <= one.keys()
        assert all(same(one[key], other[key]) for key in one)


@pytest.mark.parametrize("seeded", [True, False])
def test_stored_views_and_test_pixels_are_the_same_to_the_bit(paths, tmp_path, seeded, no_decoding):
    cfg = cfg_of(RESIZE_FIRST=30)
    transform = build_transform(cfg, is_train=seeded)
    views = [ImageView(path, "ab" * 32, i) for i, path in enumerate(paths)]
    plain = list(PixelReader(transform, seeded).batches(views, 5, 2))
    pack = packed_for(paths, tmp_path / "pack", transform)
    use_pack(image_cache.enable(), str(pack.folder))
    with no_decoding():
        packed = list(PixelReader(transform, seeded).batches(views, 5, 2))
    assert same(plain, packed)


@pytest.fixture
def no_decoding(monkeypatch):
    """A context in which every call of the decoder fails."""

    def refuse(path):
        raise AssertionError(f"{path} was decoded")

    class Forbidden:
        def __enter__(self):
            monkeypatch.setattr("dassl.utils.images.decode_image", refuse)

        def __exit__(self, *error):
            monkeypatch.undo()

    return Forbidden


def test_every_kind_of_image_is_packed_as_it_is_read(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    folder = tmp_path / "odd"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colour).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(np.dstack([colour, colour[..., 0]])).save(folder / "clear.png")
    Image.fromarray(rng.integers(0, 4096, (20, 30)).astype(np.uint16)).save(folder / "deep.tif")
    Image.fromarray(colour).convert("P").save(folder / "palette.gif")
    set_windows(str(folder), Windows(integers=(0.0, 4095.0)))
    try:
        paths = sorted(map(str, folder.iterdir()))
        pack = packed_for(paths, tmp_path / "pack", T.Compose([]))
        for path in paths:
            assert np.array_equal(pack.get(path, DECODED), np.array(decode_image(path))), path
        set_windows(str(folder), Windows(integers=(0.0, 65535.0)))  # read otherwise from now on
        deep = str(folder / "deep.tif")
        assert pack.get(deep, DECODED) is None
        assert pack.get(paths[0], DECODED) is not None
    finally:
        set_windows(str(folder), Windows())


def test_a_changed_file_is_decoded_anew_and_named(paths, tmp_path):
    test = build_transform(cfg_of(), is_train=False)
    pack = packed_for(paths, tmp_path / "pack", test)
    text = steps_text(first_steps(test)[0])
    wanted = {text: Wanted(first_steps(test)[0], paths)}
    assert describe_use(pack, wanted) == [f"pack {pack.folder}: 12 of 12 images are read from it"]
    changed = 255 - np.array(Image.open(paths[1]))
    Image.fromarray(changed).save(paths[1])
    first, lacks = describe_use(pack, wanted)
    assert "11 of 12" in first and f"such as {paths[1]}: changed" in lacks and "\n" not in lacks
    use_pack(image_cache.enable(), str(pack.folder))
    pixels = PlainPixels(test)
    assert torch.equal(
        pixels.tensor([pixels.bytes_of(paths[1])])[0], test(Image.fromarray(changed))
    )
    written, there = write_pack(pack.folder, wanted)  # the same command again
    assert (written, there) == (1, 11)
    assert len(describe_use(Pack(pack.folder), wanted)) == 1


def test_another_size_and_another_pillow_are_not_read_and_said(paths, tmp_path, monkeypatch):
    test = build_transform(cfg_of(), is_train=False)
    pack = packed_for(paths, tmp_path / "pack", test)
    other = first_steps(build_transform(cfg_of(SIZE=(20, 20)), is_train=False))[0]
    _, lacks = describe_use(pack, {steps_text(other): Wanted(other, paths)})
    assert "lacks 12 of 12" in lacks and "Resize(size=20" in lacks and "Pillow" not in lacks
    steps = first_steps(test)[0]
    monkeypatch.setattr(PIL, "__version__", "0.0")
    assert pack.get(paths[0], steps_text(steps)) is None
    _, lacks = describe_use(pack, {steps_text(steps): Wanted(steps, paths)})
    assert "by this version of Pillow" in lacks


class Stopped(Exception):
    """What breaks a pack off."""


def test_what_was_broken_off_goes_on(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "SHARD_BYTES", 3 * 50 * 50 * 2)  # two images
    monkeypatch.setattr(packing, "_AT_ONCE", 1)
    wanted = {DECODED: Wanted([], paths)}
    seen = []

    def begin(total):
        assert total == len(paths)

        def advance(done):
            seen.append(done)
            if len(seen) == 7:
                raise Stopped

        return advance

    with pytest.raises(Stopped):
        write_pack(tmp_path / "pack", wanted, begin=begin)
    assert len(Pack(tmp_path / "pack")) == 6
    assert write_pack(tmp_path / "pack", wanted) == (6, 6)
    pack = Pack(tmp_path / "pack")
    assert len(pack) == 12 and not list(pack.folder.glob(".*"))
    for path in paths:
        assert np.array_equal(pack.get(path, DECODED), np.array(decode_image(path)))


def test_a_full_disk_is_said_before_and_while_it_is_filled(paths, tmp_path, monkeypatch):
    wanted = {DECODED: Wanted([], paths)}
    room = SimpleNamespace(free=packing._SPARE_BYTES + 12 * 3 * 50 * 50 - 1)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda folder: room)
    with pytest.raises(UserError, match="needs 0.0 GB and .* has room for .*RESIZE_FIRST"):
        write_pack(tmp_path / "pack", wanted)
    room.free += 1

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no room is left in .*goes on from here"):
        write_pack(tmp_path / "pack", wanted)
    monkeypatch.undo()
    assert sorted(p.name for p in (tmp_path / "pack").iterdir()) == [MARK]
    assert write_pack(tmp_path / "pack", wanted) == (12, 0)


def test_folders_that_are_no_pack_and_broken_parts_are_named(paths, tmp_path):
    with pytest.raises(MissingFileError, match="no pack .*DATASET.PACKED"):
        Pack(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is no pack of images"):
        write_pack(tmp_path / "images", {DECODED: Wanted([], paths)})
    pack = packed_for(paths, tmp_path / "pack", T.Compose([]))
    (part,) = pack.folder.glob("*.safetensors")
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(UserError, match=f"{part.name} is a broken part"):
        Pack(pack.folder)
    part.unlink()
    (pack.folder / MARK).write_text('{"version": 99}')
    with pytest.raises(UserError, match="version 99"):
        Pack(pack.folder)


def test_packed_images_are_the_callers_own(paths, tmp_path):
    pack = packed_for(paths, tmp_path / "pack", T.Compose([]))
    cache = image_cache.enable()
    use_pack(cache, str(pack.folder))
    cache.image(paths[0], decode_image).putpixel((0, 0), (1, 2, 3))
    again = Pack(pack.folder).get(paths[0], DECODED)
    assert np.array_equal(again, np.array(decode_image(paths[0])))
    assert cache.misses == 0
    use_pack(cache, "")
    cache.image(paths[0], decode_image)
    assert cache.misses == 1


def test_workers_that_start_afresh_open_the_pack_themselves(paths, tmp_path):
    pack = packed_for(paths, tmp_path / "pack", T.Compose([]))
    cache = image_cache.enable()
    assert cache.for_workers() is None
    use_pack(cache, str(pack.folder))
    copy = pickle.loads(pickle.dumps(cache.for_workers()))
    assert np.array_equal(copy.pack.get(paths[2], DECODED), np.array(decode_image(paths[2])))


def test_steps_are_told_with_every_parameter_and_end_at_the_first_draw():
    steps = [ShrinkShorter(64, BILINEAR), ResizeLonger(32, BILINEAR), T.CenterCrop(24)]
    found, rest = first_steps(T.Compose([*steps, T.RandomHorizontalFlip(), T.Resize(10)]))
    assert found == steps and len(rest.transforms) == 2
    assert steps_text(steps) == steps_text([ShrinkShorter(64, BILINEAR), *steps[1:]])
    assert "edge=64" in steps_text(steps) and " at 0x" not in steps_text(steps)
    assert steps_text(steps) != steps_text([ShrinkShorter(65, BILINEAR), *steps[1:]])

    class Drawing(T.Resize):
        """Not what its base is."""

    assert first_steps(T.Compose([Drawing(8)]))[0] == []
    assert first_steps(len) == ([], len)


def test_what_a_trainer_reads(paths):
    cfg = cfg_of(RESIZE_FIRST=40)
    cfg.INPUT.FEATURE_VIEWS = 0
    train, test = build_transform(cfg), build_transform(cfg, is_train=False)
    items = [Datum(path, 0) for path in paths]
    data = SimpleNamespace(train_x=items[:2], train_u=None, val=items[2:3], test=items[3:6])
    loader = SimpleNamespace(dataset=SimpleNamespace(transform=train))
    dm = SimpleNamespace(dataset=data, train_loader_x=loader, val_loader=None)
    trainer = SimpleNamespace(dm=dm, cfg=cfg, tfm_test=test, tfm_train=train)
    found = wanted_of(trainer, {"B": items[6:8]})
    by_train, by_test = (steps_text(first_steps(one)[0]) for one in (train, test))
    assert found[by_train].paths == paths[:2] and found[by_test].paths == paths[:8]
    trainer.stored_kind, cfg.INPUT.FEATURE_VIEWS = "pooled", 1
    assert list(wanted_of(trainer, {})) == [by_test]
    cfg.INPUT.FEATURE_VIEWS = 4
    assert set(wanted_of(trainer, {})) == {by_train, by_test}


def test_a_pack_is_no_part_of_what_a_run_is_and_shrinking_first_is():
    cfg = cfg_of()
    before = config_hash(cfg)
    cfg.DATASET.PACKED = "somewhere"
    assert config_hash(cfg) == before
    cfg.INPUT.RESIZE_FIRST = 256
    assert config_hash(cfg) != before
    cfg.INPUT.RESIZE_FIRST = 10
    with pytest.raises(UserError, match="RESIZE_FIRST is 10 px, less than"):
        build_transform(cfg)


def test_only_larger_images_are_shrunk_first():
    shrink = ShrinkShorter(32, BILINEAR)
    assert shrink(Image.new("RGB", (64, 128))).size == (32, 64)
    small = Image.new("RGB", (31, 90))
    assert shrink(small) is small
