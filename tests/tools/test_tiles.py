"""``cerviclip tiles``: points and grids of a pyramidal TIFF, read back as a data set."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from cerviclip.data.cell_crops import cut
from cerviclip.data.slides import Slide, otsu, tissue_mask
from cerviclip.runs.settings.opened import open_dataset
from cerviclip.tools.tiles import main, read_points
from dassl.errors import UserError

pytest.importorskip("openslide")
tifffile = pytest.importorskip("tifffile")


@pytest.fixture(scope="module")
def picture():
    """White glass, 512 x 384 px, with pink tissue from x 128 to 384."""
    rng = np.random.default_rng(0)
    pixels = np.full((384, 512, 3), 240, np.uint8)
    pixels[:, 128:384] = (200, 90, 150) + rng.integers(-20, 20, (384, 256, 3))
    return pixels


@pytest.fixture(scope="module")
def slides(picture, tmp_path_factory):
    """Four slides, tiled pyramids of two levels; one has its colours a little moved."""
    folder, found = tmp_path_factory.mktemp("slides"), []
    for n in range(4):
        found.append(folder / f"S{n}.tiff")
        pixels = np.roll(picture, n, axis=0)
        with tifffile.TiffWriter(found[-1]) as tiff:
            options = {"photometric": "rgb", "tile": (64, 64)}
            tiff.write(pixels, subifds=0, **options)
            tiff.write(pixels[::2, ::2].copy(), subfiletype=1, **options)
    return found


def test_a_crop_is_the_slides_pixels(slides, picture):
    slide = Slide(slides[0])
    assert slide.size == (512, 384)
    for x, y in ((200, 100), (3, 380), (511, 0)):  # also mirrored at the border
        own = np.asarray(slide.crop(x, y, 40, 1))
        assert np.array_equal(own, cut(picture, x, y, 40, 40))
    half = np.asarray(slide.crop(200, 100, 20, 2), int)
    assert np.array_equal(half, cut(picture[::2, ::2], 100, 50, 20, 20))
    slide.close()


def test_a_grid_covers_the_tissue_alone(slides, tmp_path, capsys):
    words = ["--grid", "--size", "64", "--label", "HSIL", "--out", str(tmp_path / "t")]
    assert main([str(slides[0]), *words]) == 0
    rows = list(csv.DictReader((tmp_path / "t/list.csv").read_text().splitlines()))
    assert len(rows) == 4 * 6 and {int(r["x"]) for r in rows} == {160, 224, 288, 352}
    for row in rows:
        with Image.open(tmp_path / "t" / row["path"]) as tile:
            assert tile.size == (64, 64)


def test_a_point_under_two_labels_is_refused_before_a_tile_is_written(tmp_path):
    (tmp_path / "p.csv").write_text("x;y;label\n10;20;a\n30;20;a\n10.0;20;b\n")
    with pytest.raises(UserError, match="holds a point twice, in lines 2 and 4"):
        read_points(tmp_path / "p.csv", ["s"])


def test_points_become_a_data_set_with_slides_as_patients(slides, tmp_path):
    lines = ["slide,x,y,label"]
    for n in range(4):
        lines += [f"S{n}.tiff,{150 + 20 * k},{60 + k},{('HSIL', 'NILM')[k % 2]}" for k in range(6)]
    (tmp_path / "cells.csv").write_text("\n".join(lines))
    words = ["--points", str(tmp_path / "cells.csv"), "--size", "32", "--out", str(tmp_path / "c")]
    assert main([*map(str, slides), *words]) == 0
    opts = ["DATASET.FILE", "list.csv"]
    data = open_dataset(str(tmp_path / "c"), opts=opts)
    parts = [data.train_x, data.val, data.test]
    assert sum(map(len, parts)) == 24
    assert [len({i.patient_id for i in p}) for p in parts if p] and data.patients_known
    homes = [{i.patient_id for i in p} for p in parts]
    assert set().union(*homes) == {"S0", "S1", "S2", "S3"} and sum(map(len, homes)) == 4


def test_otsu_parts_two_heaps_and_glass_is_no_tissue():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.2, 0.03, 500), rng.normal(0.7, 0.03, 200)])
    assert 0.25 < otsu(values) < 0.65
    glass = np.clip(240 + rng.integers(-4, 4, (50, 50, 3)), 0, 255).astype(np.uint8)
    assert not tissue_mask(glass).any()


def test_what_is_refused(slides, tmp_path):
    out = ["--out", str(tmp_path / "o")]
    (tmp_path / "p.csv").write_text("x,y,label\n900,3,HSIL\n")
    with pytest.raises(UserError, match="outside"):
        main([str(slides[0]), "--points", str(tmp_path / "p.csv"), *out])
    with pytest.raises(UserError, match="which is not given"):
        main([*map(str, slides[:2]), "--points", str(tmp_path / "p.csv"), *out])
    (tmp_path / "no.tiff").write_bytes(b"nothing")
    with pytest.raises(UserError, match="no slide that can be read"):
        main([str(tmp_path / "no.tiff"), "--grid", *out])
    with pytest.raises(UserError, match="two slides are called"):
        main([str(slides[0]), str(slides[0]), "--grid", *out])
