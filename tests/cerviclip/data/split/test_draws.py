"""Draws in three scenarios: nested, as many as asked for, by prevalence."""

from __future__ import annotations

from collections import Counter

import pytest

from cerviclip.data.split.draws import SCENARIOS, draw, missing_classes
from cerviclip.data.split.patient_grouped import Item, draw_shots
from dassl.errors import UserError

SIZES = {"common": 160, "usual": 36, "rare": 4}  # 80, 18 and 2 %
ITEMS = [
    Item(f"{name}/{i:03}.png", label, name, f"{name}{i // 4}")
    for label, (name, count) in enumerate(SIZES.items())
    for i in range(count)
]


def drawn(shots, scenario, seed=1, by="class", items=ITEMS):
    return draw(items, shots, "D", "hash", seed, by, scenario)[0]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("by", ["class", "patient"])
@pytest.mark.parametrize("seed", [1, 2])
def test_fewer_shots_are_among_more(scenario, by, seed):
    sets = [set(drawn(k, scenario, seed, by)) for k in (1, 2, 3, 4, 8, 16, 32)]
    assert all(a < b for a, b in zip(sets, sets[1:], strict=False))
    assert set(drawn(4, scenario, seed + 10, by)) != sets[3]
    assert drawn(4, scenario, seed, by, ITEMS[::-1]) == drawn(4, scenario, seed, by)


def test_balanced_is_the_draw_of_before():
    assert drawn(3, "balanced") == draw_shots(ITEMS, 3, "D", "hash", 1)[0]


def test_natural_has_the_classes_as_often_as_they_come_and_each_once():
    for shots in (1, 2, 5, 10, 20):
        counts = Counter(item.classname for item in drawn(shots, "natural"))
        assert counts.total() == 3 * shots and min(counts[name] for name in SIZES) >= 1
        if shots >= 10:
            for name, size in SIZES.items():
                assert abs(counts[name] - 3 * shots * size / 200) <= 1


def test_natural_missing_lacks_rare_classes_as_chance_has_it():
    lacking = [missing_classes(ITEMS, drawn(4, "natural_missing", s)) for s in range(200)]
    # 12 of 200 images without the four rare ones: (196 choose 12) / (200 choose 12) = 0.778
    assert 0.68 < sum("rare" in names for names in lacking) / 200 < 0.87
    assert all(len(drawn(4, "natural_missing", s)) == 12 for s in range(5))


def test_by_patient_takes_distinct_ones_first():
    found = drawn(8, "natural_missing", by="patient")
    assert len({item.patient for item in found}) == len(found) == 24


def test_the_next_image_is_of_the_class_that_lags_most():
    """Of six and three images, the shares of a head of n are 2n/3 and n/3: the head of six has 4
    and 2 by them, that of eight 5 and 3."""
    items = [Item(f"a/{i}.png", 0, "a", f"a{i}") for i in range(6)]
    items += [Item(f"b/{i}.png", 1, "b", f"b{i}") for i in range(3)]
    heads = [Counter(i.classname for i in drawn(k, "natural", items=items)) for k in (1, 2, 3, 4)]
    assert [(head["a"], head["b"]) for head in heads] == [(1, 1), (3, 1), (4, 2), (5, 3)]


@pytest.mark.parametrize("scenario", ["natural", "natural_missing"])
def test_data_set_split_and_seed_each_make_another_draw(scenario):
    keys = [("D", "hash", 1), ("E", "hash", 1), ("D", "other", 1), ("D", "hash", 2)]
    draws = [tuple(draw(ITEMS, 4, *key, scenario=scenario)[0]) for key in keys]
    assert len(set(draws)) == len(keys)


# Published draws cannot be repeated any more when these change.
PINNED = {
    "natural": [
        "common/037.png",
        "common/094.png",
        "common/088.png",
        "common/159.png",
        "usual/028.png",
        "rare/001.png",
    ],
    "natural_missing": [
        "common/068.png",
        "common/125.png",
        "common/061.png",
        "common/033.png",
        "common/062.png",
        "usual/000.png",
    ],
}


@pytest.mark.parametrize("scenario", PINNED)
def test_pinned_draws(scenario):
    """Class by class, within a class in the order of the draw."""
    assert [item.path for item in drawn(2, scenario)] == PINNED[scenario]


def test_too_few_images_are_told_and_a_wrong_word_is_refused(make_cfg, oct_root):
    from dassl.data.datasets import build_dataset

    _, short = draw(ITEMS, 100, "D", "hash", 1, "class", "natural")
    assert short == SIZES
    with pytest.raises(UserError, match="SHOTS_SCENARIO.*natural_missing"):
        build_dataset(make_cfg(oct_root, "MixedCenterOCT", NUM_SHOTS=1, SHOTS_SCENARIO="rare"))


def test_a_data_set_draws_by_its_key(make_cfg, oct_root):
    from dassl.data.datasets import build_dataset

    cfg = make_cfg(oct_root, "MixedCenterOCT", NUM_SHOTS=1, SHOTS_SCENARIO="natural")
    data = build_dataset(cfg)
    assert len(data.train_x) == 5 and data.split_record["scenario"] == "natural"
