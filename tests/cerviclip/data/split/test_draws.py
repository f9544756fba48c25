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
