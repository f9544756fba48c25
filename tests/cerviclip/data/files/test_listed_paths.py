"""Fault 50: paths of another machine, in lists, split files and pickles alike."""

from __future__ import annotations

import os
import unicodedata

import pytest

from cerviclip.data.files.listed_paths import ListedPaths
from dassl.errors import UserError

KNOWN = ["a/i0.png", "b/i0.png", "train/a/deep/i1.png", "Zürich/x.png", "c/I5.PNG"]


@pytest.fixture
def places():
    return ListedPaths("list.csv", KNOWN, "/data", "/data/images")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a/i0.png", "a/i0.png"),
        ("images/a/i0.png", "a/i0.png"),
        ("/data/images/a/i0.png", "a/i0.png"),
        ("/home/x/data/a/i0.png", "a/i0.png"),
        ("C:/data/b/i0.png", "b/i0.png"),
        ("//server/share/b/i0.png", "b/i0.png"),
        ("mine/a/i0.png", "a/i0.png"),
        ("./Prompt/../2750/a/i0.png", "a/i0.png"),
        ("D:/x/train/a/deep/i1.png", "train/a/deep/i1.png"),
        ("a/I0.PNG", "a/i0.png"),
        (unicodedata.normalize("NFD", "Zürich/x.png"), "Zürich/x.png"),
        ("D:/x/none.png", ""),
        ("i0.png", ""),
        ("a/none.png", ""),
    ],
)
def test_the_longest_tail_that_is_known(places, path, found):
    assert places.find(path) == found


def test_what_was_known_by_its_tail_is_told(places):
    places.find("a/i0.png")
    assert places.notes() == []
    places.find("C:/data/b/i0.png")
    assert "1 paths were found by their last parts alone" in places.notes()[0]


def test_paths_out_of_the_root_are_refused(places):
    with pytest.raises(UserError, match="outside the data's root /data"):
        places.find("../../etc/secret.png")


def test_a_linked_root_holds_what_lies_behind_it(tmp_path):
    (tmp_path / "real/a").mkdir(parents=True)
    (tmp_path / "real/a/i0.png").write_bytes(b"x")
    os.symlink("real", tmp_path / "link")
    folder = str(tmp_path / "link")
    places = ListedPaths("l.csv", ["a/i0.png"], folder, folder)
    assert places.find(str(tmp_path / "real/a/i0.png")) == "a/i0.png" and not places.by_tail


def test_names_without_suffix_and_bare_names_where_there_is_one(tmp_path):
    known = ["a/1.png", "b/1.png", "b/2.jpg", "c/x/3.tif"]
    paths = ListedPaths("l.csv", known, str(tmp_path), str(tmp_path))
    assert paths.find("a/1") == "a/1.png" and paths.find("C:/data/c/x/3") == "c/x/3.tif"
    assert paths.find("2") == paths.find("2.jpg") == "b/2.jpg"
    assert paths.find("1") == paths.find("1.png") == ""  # there are two
    assert paths.find("b/2.png") == ""  # another file
    assert paths.find_entry("batch7/2.jpg", "2.jpg") == "b/2.jpg"
