"""Folds: as users write them, and who is in which."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from cerviclip.data.split.folds import (
    Fold,
    classes_short_of_patients,
    deal_into_folds,
    parse_fold,
    split_into_fold,
)
from cerviclip.data.split.patient_grouped import (
    Item,
    main_class,
    patients_on_two_parts,
    split_by_ratio,
)
from dassl.data.datasets import build_dataset
from dassl.errors import UserError

CLASSES = ["a", "b", "c"]
RATIO = (0.45, 0.15, 0.40)


@pytest.mark.parametrize("text, fold", [("3/10", (3, 10)), ("1/2", (1, 2)), ("10/10", (10, 10))])
def test_a_fold_is_read_and_written_as_it_was(text, fold):
    assert parse_fold(text) == Fold(*fold) and str(parse_fold(text)) == text


def test_nothing_is_no_fold():
    assert parse_fold("") is None


@pytest.mark.parametrize(
    "text, words",
    [
        ("0/10", "such as 3/10"), ("03/10", "such as 3/10"), ("3", "such as 3/10"),
        ("3 of 10", "such as 3/10"), ("-1/10", "such as 3/10"), ("٣/10", "such as 3/10"),
        ("1/1٠", "such as 3/10"),
        ("3/10\n", "such as 3/10"), ("1/1", "at least 2"), ("11/10", "1/10 to 10/10"),
    ],
)  # fmt: skip
def test_what_is_no_fold_is_refused_in_one_line(text, words):
    with pytest.raises(UserError, match=words) as caught:
        parse_fold(text)
    assert "DATASET.FOLD" in str(caught.value) and "\n" not in str(caught.value)


def make_items(seed: int, patients: int, mixed: float = 0.2) -> list[Item]:
    """Patients with 1 to 9 images of mostly one class, as unequal as hospitals': the first class
    has half of them."""
    rng = random.Random(seed)
    items = []
    for p in range(patients):
        main = rng.choice([0, 0, 1, 2])
        for i in range(rng.randint(1, 9)):
            label = rng.randrange(len(CLASSES)) if rng.random() < mixed else main
            items.append(Item(f"{CLASSES[label]}/P{p}_{i}.png", label, CLASSES[label], f"P{p}"))
    return items


def main_classes(items: list[Item]) -> Counter[str]:
    """Class -> the patients who have most images of it."""
    by_patient: dict[str, list[Item]] = {}
    for item in items:
        by_patient.setdefault(item.patient, []).append(item)
    return Counter(main_class(members) for members in by_patient.values())


@pytest.mark.parametrize("folds", [2, 5, 10])
@pytest.mark.parametrize("seed", range(10))
def test_each_patient_is_tested_in_one_fold_and_all_are_tested(folds, seed):
    items = make_items(seed, patients=10 + 7 * seed)
    dealt = deal_into_folds(items, folds, seed)
    assert len(dealt) == folds and all(dealt)
    where = Counter(p for part in dealt for p in {item.patient for item in part})
    assert set(where.values()) == {1}
    tested = [item.path for part in dealt for item in part]
    assert sorted(tested) == sorted(item.path for item in items)


@pytest.mark.parametrize("folds", [2, 5, 10])
@pytest.mark.parametrize("seed", range(10))
def test_folds_differ_by_at_most_one_patient_in_each_class_and_in_all(folds, seed):
    dealt = deal_into_folds(make_items(seed, patients=10 + 7 * seed), folds, seed)
    counts = [main_classes(part) for part in dealt]
    for name in CLASSES:
        numbers = [count[name] for count in counts]
        assert max(numbers) - min(numbers) <= 1
    sizes = [sum(count.values()) for count in counts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_no_fold_gets_the_large_patients_of_a_class_throughout(seed):
    """A fold that chose first in every round, having fewest patients, would have twice the
    images of another."""
    items = make_items(seed, patients=211, mixed=0)
    counts = [Counter(i.classname for i in part) for part in deal_into_folds(items, 5, seed)]
    for name in CLASSES:
        numbers = [count[name] for count in counts]
        assert max(numbers) - min(numbers) <= 9  # one patient's images


def test_a_fold_splits_as_the_test_part_and_the_rest_by_train_to_val():
    items = make_items(3, patients=200)
    split = split_into_fold(items, Fold(2, 5), RATIO, seed=1)
    assert split["test"] == deal_into_folds(items, 5, 1)[1]
    assert patients_on_two_parts(split) == {}
    paths = [item.path for part in split.values() for item in part]
    assert sorted(paths) == sorted(item.path for item in items)
    share = len(split["val"]) / (len(split["val"]) + len(split["train"]))
    assert share == pytest.approx(0.15 / 0.60, abs=0.02)
    assert split_into_fold(items, Fold(2, 5), (0.8, 0, 0.2), seed=1)["val"] == []


def test_train_and_val_of_a_fold_are_split_as_any_images():
    """By the seed, and by image where that is asked for."""
    items = make_items(3, patients=60)
    for seed, by in ((1, "patient"), (2, "patient"), (1, "image")):
        split = split_into_fold(items, Fold(2, 5), RATIO, seed, by)
        rest = sorted(split["train"] + split["val"], key=lambda i: i.path)
        again = split_by_ratio(rest, (*RATIO[:2], 0), seed, by)
        assert (split["train"], split["val"]) == (again["train"], again["val"])
    assert patients_on_two_parts(split)


def test_a_fold_may_validate_on_more_than_it_trains_on():
    split = split_into_fold(make_items(3, 200), Fold(1, 5), (0.1, 0.3, 0.6), seed=1)
    assert len(split["val"]) == pytest.approx(3 * len(split["train"]), rel=0.1)


def test_names_number_of_folds_and_seed_alone_decide():
    items = make_items(0, 60)
    shuffled = random.Random(1).sample(items, len(items))
    random.seed(0)
    first = deal_into_folds(items, 5, 1)
    random.seed(99)
    assert deal_into_folds(shuffled, 5, 1) == first
    assert deal_into_folds(items, 5, 2) != first


PINNED = [["P3", "P6", "P8"], ["P2", "P5", "P7"], ["P0", "P1", "P4"]]


def test_pinned_folds():
    """These change only when the rule changes, which makes published folds unrepeatable."""
    items = [Item(f"{'ab'[p % 2]}/P{p}_{i}.png", p % 2, "ab"[p % 2], f"P{p}")
             for p in range(9) for i in range(1 + p % 3)]  # fmt: skip
    dealt = deal_into_folds(items, 3, 1)
    found = [sorted({item.patient for item in part}) for part in dealt]
    assert found == PINNED


def test_by_image_parts_patients():
    items = [Item(f"a/P{i % 4}_{i}.png", 0, "a", f"P{i % 4}") for i in range(80)]
    dealt = deal_into_folds(items, 5, 1, by="image")
    assert [len(part) for part in dealt] == [16] * 5
    assert len({item.patient for item in dealt[0]}) == 4


def test_fewer_patients_than_folds_are_refused_with_both_numbers():
    items = make_items(0, patients=8)
    with pytest.raises(UserError, match="8 patients cannot fill 10 folds.*at most 8 folds") as e:
        split_into_fold(items, Fold(3, 10), RATIO, seed=1)
    assert "\n" not in str(e.value)
    assert all(deal_into_folds(items, 8, 1))


def test_a_ratio_that_leaves_train_and_val_nothing_is_refused():
    with pytest.raises(UserError, match="SPLIT_RATIO"):
        split_into_fold(make_items(0, 20), Fold(1, 5), (0, 0, 1), seed=1)


def test_classes_with_fewer_patients_than_folds_are_counted():
    items = [Item(f"a/P{p}.png", 0, "a", f"P{p}") for p in range(6)]
    items += [Item(f"b/P{p}.png", 1, "b", f"P{p}") for p in range(3)]
    assert classes_short_of_patients(items, 4) == {"b": 3}
    assert classes_short_of_patients(items, 3) == {}


# -- data sets ----------------------------------------------------------------------------------

NAME = "MixedCenterOCT"  # 7 patients of 3 frames in each of 5 classes


def ids(items) -> set[str]:
    return {item.patient_id for item in items}


def test_the_folds_of_a_data_set_test_everybody_once(build, oct_root):
    data = [build(oct_root, NAME, FOLD=f"{n}/7") for n in range(1, 8)]
    tested = [ids(d.test) for d in data]
    assert [len(patients) for patients in tested] == [5] * 7
    assert len(set().union(*tested)) == 35
    for one in data:
        assert Counter(item.classname for item in one.test) == dict.fromkeys(one.classnames, 3)
        assert not ids(one.test) & (ids(one.train_x) | ids(one.val))
        assert not ids(one.train_x) & ids(one.val) and one.val
        assert len(one.train_x) + len(one.val) + len(one.test) == 105
        assert not one.warnings
    assert len({d.split_hash for d in data}) == 7
    assert [d.split_record["fold"] for d in data] == [f"{n}/7" for n in range(1, 8)]


def test_shots_and_seed_leave_the_folds_alone_and_draws_nest(make_cfg, oct_root):
    def built(shots, seed, split_seed=1):
        cfg = make_cfg(oct_root, NAME, FOLD="2/5", NUM_SHOTS=shots, SPLIT_SEED=split_seed)
        cfg.SEED = seed
        return build_dataset(cfg)

    data = [built(k, s) for k in (1, 4, -1) for s in (1, 2)]
    assert len({d.split_hash for d in data}) == 1
    assert {i.impath for i in data[0].train_x} < {i.impath for i in data[2].train_x}
    assert built(4, 1, split_seed=2).split_hash != data[0].split_hash


def test_without_a_fold_nothing_is_said_of_one(build, oct_root):
    data = build(oct_root, NAME)
    assert data.fold is None and "fold" not in data.split_record


def test_a_class_with_fewer_patients_than_folds_is_warned_of_with_counts(build, oct_root):
    for number in range(3):  # leaves 4 patients of the cysts
        for path in (oct_root / "mixed/images/cyst").glob(f"*_P000100{number}_*"):
            path.unlink()
    with pytest.warns(UserWarning) as caught:
        build(oct_root, NAME, FOLD="7/7")
    said = [str(w.message) for w in caught]
    assert any("cyst has 4; 7 folds" in text for text in said)
    [gap] = [text for text in said if "no images of cyst in test" in text]
    assert "fewer folds may help" in gap


@pytest.mark.filterwarnings("ignore:.*split by image")
def test_folds_by_image_want_images_of_each_class_not_patients(build, oct_root):
    for number in range(3):
        for path in (oct_root / "mixed/images/cyst").glob(f"*_P000100{number}_*"):
            path.unlink()
    data = build(oct_root, NAME, FOLD="7/7", SPLIT_BY="image")
    assert not any("than folds in some classes" in text for text in data.warnings)


def test_a_fold_that_is_repeated_from_a_file_is_still_that_fold(build, oct_root, tmp_path):
    file = tmp_path / "split.json"
    file.write_text(json.dumps(build(oct_root, NAME, FOLD="2/5", NUM_SHOTS=2).split_record))
    again = {"DRAW_FILE": str(file), "NUM_SHOTS": 2}
    assert build(oct_root, NAME, **again).fold == Fold(2, 5)
    assert build(oct_root, NAME, FOLD="2/5", **again).fold == Fold(2, 5)
    with pytest.raises(UserError, match=r"FOLD is 3/5, but .* as it is given \(file\)"):
        build(oct_root, NAME, FOLD="3/5", **again)


def test_more_folds_than_patients_are_refused(build, oct_root):
    with pytest.raises(UserError, match="35 patients cannot fill 40 folds"):
        build(oct_root, NAME, FOLD="1/40")


def test_a_split_that_is_given_is_not_passed_off_as_a_fold(build, oct_root, tmp_path):
    file = tmp_path / "split.json"
    file.write_text(json.dumps(build(oct_root, NAME).split_record))
    with pytest.raises(UserError, match=r"FOLD is 1/5, but .* as it is given \(file\)"):
        build(oct_root, NAME, FOLD="1/5", SPLIT_FILE=str(file))
    with pytest.raises(UserError, match="FOLD is 1/5, but HuaxiOCT is tested on only"):
        build(oct_root, "HuaxiOCT", FOLD="1/5")


def test_repetitions_deal_in_other_ways_and_the_first_as_ever():
    items = [Item(f"{c}/{i}.png", n, c, f"{c}{i}") for n, c in enumerate(CLASSES) for i in range(9)]
    plain = deal_into_folds(items, 3, 1)
    for number in (1, 2, 3):
        assert split_into_fold(items, Fold(number, 3), RATIO, 1)["test"] == plain[number - 1]
    tested = [split_into_fold(items, Fold(n, 3, 2), RATIO, 1)["test"] for n in (1, 2, 3)]
    assert sorted(i.path for part in tested for i in part) == sorted(i.path for i in items)
    assert tested != plain and all(tested)
    assert parse_fold("2/3@2") == Fold(2, 3, 2) and str(Fold(2, 3, 2)) == "2/3@2"
