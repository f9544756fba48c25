"""Splits and draws: nobody in two parts, shares kept, nothing but names and seed decides."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter

import pytest

from cerviclip.data.split.patient_grouped import (
    Item,
    draw_shots,
    hash_of,
    hash_order,
    main_class,
    patients_on_two_parts,
    split_by_ratio,
    split_hash,
)
from dassl.errors import UserError

CLASSES = ["a", "b", "c"]
RATIO = (0.45, 0.15, 0.40)


def make_items(seed: int, patients: int, mixed: float = 0.2) -> list[Item]:
    """Patients with 1 to 9 images of mostly one class."""
    rng = random.Random(seed)
    items = []
    for p in range(patients):
        main = rng.randrange(len(CLASSES))
        for i in range(rng.randint(1, 9)):
            label = rng.randrange(len(CLASSES)) if rng.random() < mixed else main
            items.append(Item(f"{CLASSES[label]}/P{p}_{i}.png", label, CLASSES[label], f"P{p}"))
    return items


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("ratio", [RATIO, (0.6, 0, 0.4), (8, 1, 1), (0, 0, 1)])
def test_split_covers_all_and_parts_no_patient(seed, ratio):
    items = make_items(seed, patients=3 + 3 * seed)
    split = split_by_ratio(items, ratio, seed)
    paths = [item.path for part in split.values() for item in part]
    assert sorted(paths) == sorted(item.path for item in items)
    assert patients_on_two_parts(split) == {}
    for part, share in zip(("train", "val", "test"), ratio, strict=True):
        assert share > 0 or split[part] == []


@pytest.mark.parametrize("seed", range(10))
def test_shares_are_near_the_ratio_in_every_class(seed):
    items = make_items(seed, patients=300)
    split = split_by_ratio(items, RATIO, seed)
    for name in CLASSES:
        total = sum(item.classname == name for item in items)
        for part, share in zip(("train", "val", "test"), RATIO, strict=True):
            got = sum(item.classname == name for item in split[part]) / total
            assert abs(got - share) < 0.05


def test_few_patients_reach_every_part():
    items = [Item(f"a/P{p}.png", 0, "a", f"P{p}") for p in range(3)]
    split = split_by_ratio(items, (0.98, 0.01, 0.01), 1)
    assert [len(split[part]) for part in ("train", "val", "test")] == [1, 1, 1]
    split = split_by_ratio(items[:2], (0.98, 0.01, 0.01), 1)
    assert [len(split[part]) for part in ("train", "val", "test")] == [1, 0, 1]


def test_order_of_listing_and_global_generators_do_not_matter():
    items = make_items(0, 60)
    shuffled = random.Random(1).sample(items, len(items))
    random.seed(0)
    first = split_by_ratio(items, RATIO, 1)
    random.seed(99)
    assert split_by_ratio(shuffled, RATIO, 1) == first
    value = random.random()
    random.seed(99)
    assert value == random.random()


def test_another_seed_splits_otherwise():
    items = make_items(0, 60)
    assert split_by_ratio(items, RATIO, 1) != split_by_ratio(items, RATIO, 2)


def test_by_image_parts_patients():
    items = [Item(f"a/P{i % 4}_{i}.png", 0, "a", f"P{i % 4}") for i in range(80)]
    split = split_by_ratio(items, RATIO, 1, by="image")
    assert len(patients_on_two_parts(split)) == 4
    assert [len(split[part]) for part in ("train", "val", "test")] == [36, 12, 32]


def test_a_patient_counts_to_the_class_of_most_images():
    def of(*names):
        return main_class([Item(f"{name}/{i}.png", 0, name, "P") for i, name in enumerate(names)])

    assert of("b", "a", "b") == "b"
    assert of("b", "a") == "a"  # of equally many the first by name


def test_a_split_without_one_of_the_parts_has_nobody_there():
    items = make_items(0, 9)
    assert patients_on_two_parts({"train": items, "test": []}) == {}
    crossing = patients_on_two_parts({"train": items, "test": items[:1]})
    assert crossing == {items[0].patient: ["train", "test"]}


@pytest.mark.parametrize("ratio", [(0.5, 0.5), (0.5, -0.1, 0.6), (0, 0, 0)])
def test_senseless_ratio(ratio):
    with pytest.raises(UserError, match="SPLIT_RATIO"):
        split_by_ratio(make_items(0, 5), ratio, 1)


def test_draws_are_nested_over_shots_and_differ_over_seeds():
    items = make_items(3, 100)
    draws = {k: draw_shots(items, k, "D", "hash", 1)[0] for k in (1, 2, 4, 8, 16)}
    for few, many in [(1, 2), (2, 4), (4, 8), (8, 16)]:
        assert set(draws[few]) < set(draws[many])
    for k, drawn in draws.items():
        assert [sum(i.classname == name for i in drawn) for name in CLASSES] == [k] * 3
    assert set(draw_shots(items, 4, "D", "hash", 2)[0]) != set(draws[4])
    assert set(draw_shots(items, 4, "D", "other", 1)[0]) != set(draws[4])
    assert set(draw_shots(items, 4, "E", "hash", 1)[0]) != set(draws[4])
    assert draw_shots(list(reversed(items)), 4, "D", "hash", 1)[0] == draws[4]


@pytest.mark.parametrize("seed", range(5))
def test_shots_by_patient_are_of_distinct_patients_while_there_are_enough(seed):
    items = make_items(seed, 60)
    of_class = {name: {i.patient for i in items if i.classname == name} for name in CLASSES}
    draws = {k: draw_shots(items, k, "D", "hash", 1, by="patient")[0] for k in (1, 4, 16, 64)}
    for k, drawn in draws.items():
        for name in CLASSES:
            given = Counter(item.patient for item in drawn if item.classname == name)
            assert len(given) == min(k, len(of_class[name]))
            left = Counter(i.patient for i in items if i.classname == name) - given
            most = max(given.values())
            assert all(given[p] >= most - 1 for p in left)  # nobody gives a third before a second
    for few, many in [(1, 4), (4, 16), (16, 64)]:
        assert set(draws[few]) < set(draws[many])
    assert draw_shots(items[::-1], 16, "D", "hash", 1, by="patient")[0] == draws[16]


def test_where_each_image_is_a_patient_both_draws_are_one():
    items = [Item(f"a/{i}.png", 0, "a", str(i)) for i in range(30)]
    assert draw_shots(items, 8, "D", "h", 1) == draw_shots(items, 8, "D", "h", 1, by="patient")


def test_a_short_class_gives_all_it_has_and_says_so():
    items = [Item(f"a/{i}.png", 0, "a", str(i)) for i in range(3)]
    items += [Item(f"b/{i}.png", 1, "b", str(i)) for i in range(9)]
    drawn, short = draw_shots(items, 5, "D", "hash", 1)
    assert short == {"a": 3}
    assert [sum(i.classname == name for i in drawn) for name in "ab"] == [3, 5]


def test_full_is_everything_in_order_of_paths():
    items = make_items(5, 10)
    drawn, short = draw_shots(items, -1, "D", "hash", 1)
    assert drawn == sorted(items, key=lambda i: i.path) and short == {}


def test_names_that_are_no_utf_8_have_a_place_in_the_order():
    """As Linux lists them: bytes that are no text."""
    names = [os.fsdecode(b"a\xff.png"), "b.png", "c.png"]
    assert sorted(hash_order(names, "key")) == sorted(names)


def test_a_hash_is_of_json_in_ascii_without_spaces_and_in_order_of_keys():
    """Published hashes depend on it, those of names with umlauts too."""
    text = '{"a":[1,"\\u00e4"],"b":null}'
    assert hash_of({"b": None, "a": [1, "ä"]}) == hashlib.sha256(text.encode()).hexdigest()


def test_a_part_that_is_absent_hashes_as_an_empty_one():
    items = make_items(0, 9)
    assert split_hash("D", "1", {"test": items}) == split_hash(
        "D", "1", {"train": [], "val": [], "test": items}
    )


def test_split_hash_is_of_the_content():
    items = make_items(0, 30)
    split = split_by_ratio(items, RATIO, 1)
    shuffled = {part: list(reversed(members)) for part, members in split.items()}
    assert split_hash("D", "1", split) == split_hash("D", "1", shuffled)
    assert split_hash("D", "2", split) != split_hash("D", "1", split)
    other = split_by_ratio(items, RATIO, 2)
    assert split_hash("D", "1", other) != split_hash("D", "1", split)
