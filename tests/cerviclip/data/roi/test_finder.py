"""ROIs: boxes, sources, masks of odd kinds, and that an ROI goes where its image goes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import torchvision.transforms as T
from PIL import Image

from cerviclip.data.roi import surface as tissue_surface
from cerviclip.data.roi.finder import (
    PatchRois,
    RoiFinder,
    box_top,
    patch_mask,
    steps_of,
    transform_together,
)
from cerviclip.data.roi.sources import mask_path
from cerviclip.recent import Recent
from dassl.errors import MissingFileError, UserError
from dassl.utils import read_image


@pytest.fixture
def image_and_mask(tmp_path):
    """An image whose lower half is bright, with its mask file, in the real data's layout."""
    pixels = np.zeros((40, 60), np.uint8)
    pixels[20:] = 200
    for kind, values in (("images", pixels), ("masks", (pixels > 0) * np.uint8(255))):
        (tmp_path / kind / "cyst").mkdir(parents=True)
        Image.fromarray(values).save(tmp_path / kind / "cyst" / "a.png")
    return tmp_path / "images" / "cyst" / "a.png", tmp_path / "masks" / "cyst" / "a.png"


def test_box_starts_at_the_first_row_that_is_all_tissue_below_a_tenth_of_the_height():
    mask = np.zeros((50, 8), bool)
    mask[2] = True  # above 10 %: not counted
    mask[20:, :4] = True
    mask[30:] = True
    assert box_top(mask) == 30
    assert box_top(np.zeros((50, 8), bool)) is None


def test_mask_lies_beside_the_images_folder():
    assert mask_path("/d/mixed/images/cyst/a.png").as_posix() == "/d/mixed/masks/cyst/a.png"
    assert mask_path("/d/a.tif", "rois").as_posix() == "/d/rois/a.png"


def test_sources_give_box_and_mask(image_and_mask):
    path, _ = image_and_mask
    box = np.asarray(RoiFinder("masks", "box").mask(str(path)))
    assert box.shape == (40, 60) and (box[20:] == 255).all() and (box[:20] == 0).all()
    assert np.array_equal(np.asarray(RoiFinder("masks", "mask").mask(str(path))), box)
    assert (np.asarray(RoiFinder("full").mask(str(path))) == 255).all()


def test_an_image_is_looked_at_once(image_and_mask, monkeypatch):
    path, _ = image_and_mask
    calls = []
    monkeypatch.setattr(tissue_surface, "tissue_mask", lambda image: calls.append(1) or None)
    for _ in range(3):
        RoiFinder("surface").mask(str(path))
    assert len(calls) == 1


def test_no_tissue_means_the_whole_image_counted_and_listed(tmp_path):
    Image.new("L", (30, 30)).save(tmp_path / "black.png")
    finder = RoiFinder("surface")
    for _ in range(2):
        assert (np.asarray(finder.mask(str(tmp_path / "black.png"))) == 255).all()
    record = finder.record
    assert (record["images"], record["not_found"]) == (1, 1)
    assert record["not_found_images"] == ["black.png"]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "I;16"])
def test_masks_of_any_mode_and_scale_serve(image_and_mask, mode):
    path, mask_file = image_and_mask
    inside = np.zeros((80, 120), bool)  # twice the image's size, same shape
    inside[40:] = True
    if mode == "I;16":
        Image.fromarray(inside * np.uint16(65535)).save(mask_file)
    elif mode == "RGBA":
        grey = Image.fromarray(inside * np.uint8(255))
        Image.merge("RGBA", (grey, grey, grey, Image.new("L", (120, 80), 255))).save(mask_file)
    else:
        Image.fromarray(inside * np.uint8(255)).convert(mode).save(mask_file)
    box = np.asarray(RoiFinder("masks", "mask").mask(str(path)))
    assert (box[20:] == 255).all() and (box[:20] == 0).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_images_of_other_modes_have_the_roi_of_the_grey_one(tmp_path, mode):
    grey = np.zeros((60, 80), np.uint8)
    for column in range(80):
        grey[25 + column // 8 :, column] = 140
    Image.fromarray(grey).save(tmp_path / "grey.png")
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "other.png")
    else:
        Image.fromarray(grey).convert(mode).save(tmp_path / "other.png")
    found = [
        np.asarray(RoiFinder("surface", "mask").mask(str(tmp_path / name)))
        for name in ("grey.png", "other.png")
    ]
    assert np.array_equal(*found) and 0 < (found[0] == 255).mean() < 1


@pytest.mark.parametrize("mode", ["L", "I;16", "P", "RGBA"])
def test_a_mask_of_zeros_and_ones_serves(image_and_mask, mode):
    path, mask_file = image_and_mask
    ones = np.zeros((40, 60), np.uint8)
    ones[20:] = 1
    if mode == "RGBA":
        alpha = np.full((40, 60), 255, np.uint8)  # opaque background, too
        Image.fromarray(np.stack([ones, ones, ones, alpha], -1)).save(mask_file)
    elif mode == "P":
        labels = Image.fromarray(ones, "P")
        labels.putpalette([0, 0, 0, 128, 0, 0])
        labels.save(mask_file)
    else:
        Image.fromarray(ones.astype(np.uint16 if mode == "I;16" else np.uint8)).save(mask_file)
    box = np.asarray(RoiFinder("masks", "mask").mask(str(path)))
    assert (box[20:] == 255).all() and (box[:20] == 0).all()


def test_a_mask_file_that_is_no_image_is_named(image_and_mask):
    path, mask_file = image_and_mask
    mask_file.write_text("not an image")
    with pytest.raises(UserError, match="mask .*a.png cannot be read"):
        RoiFinder("masks").mask(str(path))


def test_a_mask_of_another_shape_is_refused(image_and_mask):
    path, mask_file = image_and_mask
    Image.new("L", (60, 60), 255).save(mask_file)
    with pytest.raises(UserError, match="60x60 px but its image .*a.png is 60x40 px"):
        RoiFinder("masks").mask(str(path))


def test_a_missing_mask_is_named_with_the_way_out(image_and_mask):
    path, mask_file = image_and_mask
    mask_file.unlink()
    with pytest.raises(MissingFileError, match="no mask .*ROI.SOURCE to surface"):
        RoiFinder("masks").mask(str(path))


def test_patches_count_by_the_share_they_cover():
    roi = Image.new("L", (40, 40), 0)
    roi.paste(255, (0, 16, 40, 40))  # row 1 of 4 is covered by 40 %
    assert patch_mask(roi, (4, 4)).view(4, 4)[:, 0].tolist() == [False, False, True, True]
    assert (
        patch_mask(roi, (4, 4), coverage=0.3).view(4, 4)[:, 0].tolist()
        == [False, True] + [True] * 2
    )


def test_a_tiny_roi_keeps_one_patch_and_an_empty_crop_all():
    roi = Image.new("L", (40, 40), 0)
    roi.putpixel((25, 5), 255)
    one = patch_mask(roi, (4, 4))
    assert one.sum() == 1 and one[2]
    assert patch_mask(Image.new("L", (40, 40), 0), (4, 4)).all()


AUGMENT = T.Compose(
    [
        T.ColorJitter(0.3),
        T.RandomResizedCrop(32, scale=(0.3, 1.0), interpolation=T.InterpolationMode.NEAREST),
        T.RandomHorizontalFlip(),
        T.RandomRotation(20),
        T.ToTensor(),
    ]
)


@pytest.mark.parametrize("seed", range(8))
def test_roi_goes_where_its_image_goes(seed):
    inside = np.zeros((50, 70), bool)
    inside[20:35, 10:40] = True
    image = Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).convert("RGB")
    roi = Image.fromarray(inside * np.uint8(255))
    torch.manual_seed(seed)
    pixels, moved = transform_together(steps_of(AUGMENT), image, roi)
    shown = pixels[0].numpy() > 0.1
    assert np.mean(shown == (np.asarray(moved) > 127)) > 0.97


def test_image_and_generator_are_as_without_an_roi():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8))
    torch.manual_seed(5)
    alone = AUGMENT(image)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    together, _ = transform_together(steps_of(AUGMENT), image, Image.new("L", (70, 50), 255))
    assert torch.equal(alone, together)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_stored_view_has_the_roi_of_its_own_crop(image_and_mask):
    from cerviclip.data.images.views import describe_transform, make_view
    from cerviclip.features.store import get_store
    from dassl.utils import read_image

    path = str(image_and_mask[0])
    crop = T.Compose([T.RandomResizedCrop(32, scale=(0.2, 0.6)), T.ToTensor()])
    plain = T.Compose([T.Resize(32), T.CenterCrop(32), T.ToTensor()])
    rois = PatchRois(RoiFinder("masks", "mask"), plain, crop, (8, 8))
    digest = get_store().hashes.sha256(path)
    for view in range(4):
        pixels = make_view(read_image(path), crop, describe_transform(crop), digest, view)
        bright = torch.nn.functional.avg_pool2d(pixels[:1], 4).flatten() > 0.4
        expected = bright if bright.any() else torch.ones(64, dtype=torch.bool)
        found = rois([path], [view])[0]
        assert (found == expected).float().mean() > 0.85


@pytest.mark.parametrize("source, kind", [("unet", "box"), ("surface", "polygon")])
def test_unknown_source_or_kind_is_refused(source, kind):
    with pytest.raises(UserError, match="surface, masks, segmenter, full and one of box, mask"):
        RoiFinder(source, kind)


def test_an_image_in_memory_has_the_roi_of_its_file_and_leaves_nothing(tmp_path, monkeypatch):
    frame = np.full((96, 96), 5, np.uint8)
    frame[40:] = np.random.default_rng(0).integers(100, 200, (56, 96), dtype=np.uint8)
    Image.fromarray(frame).save(tmp_path / "frame.png")
    store = tmp_path / "store"
    monkeypatch.setenv("CERVICLIP_CACHE", str(store))
    monkeypatch.setattr(RoiFinder, "_known", {})
    for kind in ("box", "mask"):
        finder = RoiFinder("surface", kind)
        image = read_image(str(tmp_path / "frame.png"))
        roi = np.asarray(finder.mask_of(image))
        assert not store.exists() and not RoiFinder._known and finder.record["images"] == 0
        assert 0 < (roi > 0).mean() < 1
        assert np.array_equal(roi, np.asarray(finder.mask(str(tmp_path / "frame.png"))))
        shutil.rmtree(store)
        RoiFinder._known.clear()


def test_mask_files_are_asked_for_by_path_alone(tmp_path):
    image = Image.new("RGB", (8, 8))
    image.save(tmp_path / "x.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.tri(8, dtype=np.uint8) * 255).save(tmp_path / "masks" / "x.png")
    finder = RoiFinder("masks", "mask")
    assert (np.asarray(finder.mask_of(image, str(tmp_path / "x.png"))) == 255).sum() == 36
    with pytest.raises(UserError, match="give the file's path instead of an image in memory"):
        finder.mask_of(image)


def test_what_a_process_remembers_of_rois_is_bounded(tmp_path, monkeypatch):
    assert isinstance(RoiFinder._known, Recent)
    monkeypatch.setattr(RoiFinder, "_known", Recent(700, lambda roi: 300))
    finder = RoiFinder("full")
    for i in range(5):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.png")
        finder.mask(str(tmp_path / f"{i}.png"))
    assert len(RoiFinder._known) == 2 and finder.record["images"] == 5
