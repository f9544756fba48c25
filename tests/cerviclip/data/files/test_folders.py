"""Scanning folders: what is an image, what is skipped, and the account of it."""

from __future__ import annotations

import os

from PIL import Image

from cerviclip.data.files.folders import (
    Skipped,
    class_folders,
    image_files,
    left_out,
    warn_of_levels,
    warn_of_two_formats,
)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_images_of_every_suffix_and_an_account_of_the_rest(tmp_path):
    """Fault 13."""
    images = ["a.JFIF", "a.jp2", "b.jpe", "c.pgm", "d.ppm", "e.tiff"]
    touch(tmp_path, *images, "f.heic", "g.dcm", "h.dcm", "notes.txt", "Thumbs.db", "._a.png")
    skipped = Skipped()
    assert image_files(tmp_path, skipped, "SCC") == images
    assert skipped.lost() == ["SCC (2 .dcm, 1 .heic, 1 .txt)"]
    assert any("other files: 1 .txt" in line for line in skipped.lines())


def test_pictures_are_told_by_how_they_begin(tmp_path):
    """Class folders of pictures without suffix, or under another one, disappeared."""
    touch(tmp_path, "c/notes.txt", "c/a.roi", "c/x.ome")
    for name in ("c/IM0001", "c/IM0002"):
        (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "c" / "d.png.tmp").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 200)
    skipped = Skipped()
    assert image_files(tmp_path / "c", skipped, "c") == []
    assert skipped.unread_pictures() == {"c": {"without suffix": 2, ".tmp": 1}}
    assert skipped.is_class("c", external=True) and skipped.lost()
    assert any("other files" in line and "1 .roi" in line for line in skipped.lines())
    touch(tmp_path, "d/notes.txt", "d/README")
    image_files(tmp_path / "d", skipped, "d")
    assert not skipped.is_class("d", external=False)


def test_a_folder_that_is_called_as_an_image_is_a_folder(tmp_path):
    touch(tmp_path, "a/scan.tif/0.png", "a/b.png")
    assert image_files(tmp_path / "a") == ["b.png", "scan.tif/0.png"]


def test_folders_of_operating_systems_are_no_classes_and_hold_no_images(tmp_path):
    """Fault 31."""
    touch(tmp_path, "HSIL/a.png", "HSIL/@eaDir/t.jpg", "HSIL/lost+found/q.png", "@eaDir/b.png")
    touch(tmp_path, "$RECYCLE.BIN/c.png", "__MACOSX/d.png", ".cache/e.png")
    assert class_folders(tmp_path) == ["HSIL"]
    assert image_files(tmp_path / "HSIL") == ["a.png"] and image_files(tmp_path) == ["HSIL/a.png"]


def test_a_link_that_leads_back_is_not_followed(tmp_path):
    """Fault 39: links to above, to within, and twice to the same place."""
    touch(tmp_path, "HSIL/in/a.png", "normal/b.png", "elsewhere/c.png")
    for name, target in {"up": "../..", "in2": "in", "far": "../elsewhere"}.items():
        os.symlink(target, tmp_path / "HSIL" / name)
    skipped = Skipped()
    assert image_files(tmp_path / "HSIL", skipped, "HSIL") == ["far/c.png", "in/a.png"]
    assert sorted(skipped.links) == ["HSIL/in2", "HSIL/up"]


def test_of_two_links_to_one_place_the_first_by_name_is_read(tmp_path):
    touch(tmp_path, "elsewhere/c.png")
    (tmp_path / "HSIL").mkdir()
    for name in ("b", "d", "a", "c"):  # a folder may list them in any order
        os.symlink("../elsewhere", tmp_path / "HSIL" / name)
    skipped = Skipped()
    assert image_files(tmp_path / "HSIL", skipped, "HSIL") == ["a/c.png"]
    assert skipped.links == ["HSIL/b", "HSIL/c", "HSIL/d"]


def test_fields_and_crops_in_one_class_are_on_two_levels():
    """Fault 10."""
    paths = ["a/a/000.bmp", "a/a/CROPPED/000_00.bmp", "b/P1/1.png", "b/P2/2.png"]
    assert "1 class folders hold images on two levels" in warn_of_levels(paths)
    assert left_out(paths[1], ["*/CROPPED/*"]) and not left_out(paths[0], ["*/CROPPED/*"])
    assert warn_of_levels(paths[2:]) == ""


def test_one_image_in_two_formats():
    paths = ["a/1.png", "a/1.jpg", "a/2.png", "b/1.png"]
    assert "1 image is there in several formats (such as a/1.png and a/1.jpg)" in (
        warn_of_two_formats(paths)
    )
    assert warn_of_two_formats(paths[1:]) == ""


def test_images_beside_the_class_folders_are_told(tmp_path):
    touch(tmp_path, "a/0.png", "b/0.png", "overview.png", "._x.png", "notes.txt")
    skipped = Skipped()
    assert class_folders(tmp_path, skipped) == ["a", "b"]
    assert skipped.lines() == ["1 image outside the class folders, not read (such as overview.png)"]


def test_pipes_are_told_and_not_opened_and_links_in_a_circle_are_files(tmp_path):
    """A pipe called x.png held up every command that read its folder, for ever."""
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "1.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    os.mkfifo(tmp_path / "a" / "pipe")
    (tmp_path / "a" / "x.png").symlink_to("y.png")
    (tmp_path / "a" / "y.png").symlink_to("x.png")
    skipped = Skipped()
    assert image_files(tmp_path, skipped) == ["a/1.png", "a/x.png", "a/y.png"]
    assert sorted(skipped.no_files) == ["a/pipe", "a/pipe.png"]
    assert any("pipes, sockets or devices, not read" in line for line in skipped.lines())
    (tmp_path / "loop").symlink_to("loop")
    assert class_folders(tmp_path) == ["a"]
