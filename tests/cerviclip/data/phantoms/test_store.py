"""Writing a centre: layout, once only, whole or not at all."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from recovery_fixtures import Life, until

from cerviclip.data.phantoms import (
    CENTERS,
    CLASSES,
    VERSION,
    ensure_center,
    mask_path,
    read_surface,
    store,
)
from dassl.errors import UserError

NAME = re.compile(r"M\d{4}_2021_P\d{7}_circle_2\.5x3\.0_C\d{2}_S\d{2}\.png")


@pytest.fixture(autouse=True)
def small_centers(monkeypatch):
    for name, center in list(CENTERS.items()):
        small = replace(center, patients=(1, 1, 1, 1, 1), frames=(2, 2))
        monkeypatch.setitem(CENTERS, name, small)


def test_layout_is_that_of_the_real_data(tmp_path):
    folder = ensure_center(tmp_path, "huaxi")
    assert folder == tmp_path / "phantom" / "huaxi"
    assert sorted(p.name for p in (folder / "images").iterdir()) == sorted(CLASSES)
    images = sorted((folder / "images").glob("*/*.png"))
    assert len(images) == 10
    for path in images:
        assert NAME.fullmatch(path.name)
        with Image.open(path) as image, Image.open(mask_path(path)) as mask:
            assert image.mode == mask.mode == "L" and image.size == mask.size == (224, 224)
    assert len(list((folder / "masks").glob("*/*.png"))) == 10
    marker = json.loads((folder / "phantom.json").read_text())
    assert marker["version"] == VERSION and marker["frames"] == 10 and marker["patients"] == 5


def test_surface_truth_is_read_from_the_mask_beside_an_image(tmp_path):
    image = next((ensure_center(tmp_path, "mixed") / "images").glob("*/*.png"))
    rows = read_surface(image)
    with Image.open(mask_path(image)) as mask:
        assert np.array_equal(rows, (np.asarray(mask) > 127).argmax(0))


def test_the_same_bytes_in_every_place(tmp_path):
    one, two = ensure_center(tmp_path / "a", "mixed"), ensure_center(tmp_path / "b", "mixed")
    files = sorted(p.relative_to(one) for p in one.rglob("*.*") if p.is_file())
    assert files == sorted(p.relative_to(two) for p in two.rglob("*.*") if p.is_file())
    assert all((one / f).read_bytes() == (two / f).read_bytes() for f in files)


def test_what_is_there_is_not_rendered_again(tmp_path, monkeypatch):
    folder = ensure_center(tmp_path, "mixed")
    monkeypatch.setattr(store, "write_center", None)  # would fail if it were called
    assert ensure_center(tmp_path, "mixed") == folder


def test_several_at_once_end_with_one_whole_center(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: ensure_center(tmp_path, "mixed"), range(4)))
    assert set(folders) == {tmp_path / "phantom" / "mixed"}
    assert len(list((folders[0] / "images").glob("*/*.png"))) == 10
    assert [p.name for p in (tmp_path / "phantom").iterdir()] == ["mixed"]


def test_an_interrupted_rendering_leaves_nothing(tmp_path, monkeypatch):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_center(tmp_path, "mixed", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_another_version_is_an_error_that_names_both_and_fresh_replaces_it(tmp_path, monkeypatch):
    folder = ensure_center(tmp_path, "mixed")
    monkeypatch.setattr(store, "VERSION", "next")
    with pytest.raises(UserError, match=rf"version {re.escape(VERSION)}.*version next.*--fresh"):
        ensure_center(tmp_path, "mixed")
    assert ensure_center(tmp_path, "mixed", fresh=True) == folder
    assert json.loads((folder / "phantom.json").read_text())["version"] == "next"
    assert [p.name for p in (tmp_path / "phantom").iterdir()] == ["mixed"]


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    folder = tmp_path / "phantom" / "mixed"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("x")
    with pytest.raises(UserError, match=r"holds files but no phantom\.json"):
        ensure_center(tmp_path, "mixed")
    assert (folder / "mine.txt").read_text() == "x"


def test_a_broken_marker_is_an_error(tmp_path):
    folder = ensure_center(tmp_path, "mixed")
    (folder / "phantom.json").write_text("{")
    with pytest.raises(UserError, match=r"phantom\.json cannot be read"):
        ensure_center(tmp_path, "mixed")


def test_a_root_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(UserError, match="cannot write phantoms"):
        ensure_center(tmp_path / "root", "mixed")


def test_what_a_killed_rendering_left_goes_and_another_centers_stays(tmp_path):
    parent = tmp_path / "phantom"
    left, other = parent / ".huaxi-a", parent / ".huaxi_b-1-c"
    for folder in (left, other):
        folder.mkdir(parents=True)
    for _ in range(2):  # when it renders, and when the centre is there
        ensure_center(tmp_path, "huaxi")
        assert sorted(parent.iterdir()) == sorted([other, parent / "huaxi"])
        left.mkdir()


def test_a_rendering_at_work_is_waited_for(tmp_path, monkeypatch):
    """By whichever machine: what it writes stays, and nothing is rendered twice."""
    folder = tmp_path / "phantom" / "huaxi"

    def render():
        def slowly(done, total):
            (tmp_path / "at work").touch()
            time.sleep(0.5)

        ensure_center(tmp_path, "huaxi", progress=slowly)
        return 0

    life = Life(render)
    until((tmp_path / "at work").exists)
    monkeypatch.setattr(store, "write_center", None)  # would fail if it were called
    assert ensure_center(tmp_path, "huaxi") == folder
    assert life.wait() == 0 and list(folder.parent.iterdir()) == [folder]
