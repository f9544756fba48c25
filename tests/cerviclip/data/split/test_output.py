"""Names of the files that a split is written as: none is written twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from cerviclip.data.split.output import targets
from dassl.data.datasets import Datum
from dassl.errors import UserError

OUT = Path("/out/train")


def named(*pairs):
    items = [Datum.__new__(Datum) for _ in pairs]
    for item, (path, name) in zip(items, pairs, strict=True):
        item._impath, item._label, item._domain, item._classname = path, 0, 0, name
    return {source: str(target.relative_to(OUT)) for source, target in targets(items, OUT)}


def test_a_name_of_a_class_is_one_folder():
    found = named(("/d/1.png", "a/b"), ("/d/2.png", "a\\b"), ("/d/3.png", " "))
    assert list(found.values()) == ["a_b/1.png", "a_b/2.png", "_/3.png"]


def test_files_of_one_name_get_their_folders_before_it_up_to_the_first():
    found = named(("/a/1.png", "c"), ("/b/1.png", "c"), ("/b/x/1.png", "c"), ("/d/x/1.png", "c"))
    assert list(found.values()) == ["c/1.png", "c/b__1.png", "c/x__1.png", "c/d__x__1.png"]


def test_files_that_no_folder_tells_apart_are_refused():
    with pytest.raises(UserError, match="/1.png and /1.png would both be /out/train/c/1.png"):
        named(("/1.png", "c"), ("/1.png", "c"))
