"""Whose variant a file is, and what splits and draws do with it."""

from __future__ import annotations

import pytest

from cerviclip.data.split.folds import deal_into_folds
from cerviclip.data.split.patient_grouped import Item, split_by_ratio
from cerviclip.data.variants.names import (
    heads,
    is_variant,
    original_of,
    torn_families,
    variant_name,
    with_variants,
)


def item(path, patient="", label=0):
    return Item(path, label, "AB"[label], patient or path)


def test_names_there_and_back():
    name = variant_name("001_01.bmp", 3, "mirror")
    assert name == "001_01.bmp.aug03-mirror.png"
    assert is_variant(name) and original_of(f"HSIL/{name}") == "HSIL/001_01.bmp"
    for other in ("001.png", "x.aug3-mirror.png", "aug03-mirror.png", "x.bmp.aug03-.png"):
        assert not is_variant(other) and original_of(other) == other


@pytest.fixture(scope="module")
def families():
    """Twelve originals of each class with three variants each."""
    found = []
    for n in range(24):
        path = f"{'AB'[n % 2]}/{n:02d}.bmp"
        names = [path, *(variant_name(path, k, "blur") for k in (1, 2, 3))]
        found += [item(name, f"P{n // 4}", n % 2) for name in names]
    return found


@pytest.mark.parametrize("by", ["patient", "image"])
def test_no_split_tears_a_family(families, by):
    parts = split_by_ratio(families, (0.5, 0.2, 0.3), 1, by)
    folds = deal_into_folds(families, 3, 1, by)
    for groups in (list(parts.values()), folds):
        homes = [{original_of(i.path) for i in members} for members in groups]
        assert sum(map(len, homes)) == 24 and all(homes)
        assert sum(map(len, groups)) == len(families)


def test_a_draw_counts_originals(families):
    some = heads(families)
    assert len(some) == 24 and not any(is_variant(i.path) for i in some)
    whole = with_variants(some[:2], families)
    assert [i.path for i in whole[:2]] == ["A/00.bmp", "A/00.bmp.aug01-blur.png"]
    assert len(whole) == 8
    orphans = [i for i in families if is_variant(i.path)]
    assert [i.path[-16:] for i in heads(orphans)] == [".bmp.aug01-blur.png"[-16:]] * 24


def test_torn_families_are_seen_across_part_folders():
    below = {"train/A/1.bmp.aug01-blur.png": "A/1.bmp.aug01-blur.png", "test/A/1.bmp": "A/1.bmp"}
    split = {"train": [item("train/A/1.bmp.aug01-blur.png")], "test": [item("test/A/1.bmp")]}
    assert len(torn_families(split, below)) == 1
    assert torn_families({"train": [], "test": split["test"]}, below) == []
