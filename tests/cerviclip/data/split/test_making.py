"""What a data set says of its split: odd shares, variants, patients that nobody knows."""

from __future__ import annotations

import shutil
import warnings

import pytest

from helpers import write_images

NAME = "MixedCenterOCT"


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        ((8, 1, 1), "adds up to 10; it is taken as 80 %, 10 %, 10 %"),
        ((0.5, 0.25, 0.24), "adds up to 0.99; it is taken as 51 %, 25 %, 24 %"),
        ((50, 25, 25), ""),
        ((0.5, 0.25, 0.25), ""),
    ],
)
def test_shares_of_neither_one_nor_a_hundred_are_told_as_they_are_taken(
    build, oct_root, ratio, said
):
    data = build(oct_root, NAME, SPLIT_RATIO=ratio)
    notes = [note for note in data.notes if note.startswith("DATASET.SPLIT_RATIO")]
    assert len(notes) == bool(said) and said in "".join(notes)
    assert data.split_record["ratio"] == pytest.approx([share / sum(ratio) for share in ratio])


@pytest.fixture
def with_variants(oct_root):
    for path in sorted((oct_root / "mixed/images/cyst").glob("*.png")):
        shutil.copy(path, path.with_name(f"{path.name}.aug01-mirror.png"))
    return oct_root


def test_variants_stay_in_training_alone(build, with_variants):
    plain = build(with_variants, NAME)
    of_cysts = sum("/cyst/" in item.impath for item in plain.test)
    assert not any(".aug01-" in item.impath for item in plain.val + plain.test)
    assert any(".aug01-" in item.impath for item in plain.train_x)
    assert any(f"{of_cysts} variants are left out of test" in note for note in plain.notes)
    with pytest.warns(UserWarning) as caught:
        asked = build(with_variants, NAME, TEST_VARIANTS=True)
    count = len(plain.test) + of_cysts
    assert len(asked.test) == count
    assert any(f"{of_cysts} of {count} test images are variants" in str(w.message) for w in caught)


def test_no_word_of_variants_where_there_are_none(build, oct_root):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = build(oct_root, NAME, TEST_VARIANTS=True)
    assert not any("variant" in note for note in data.notes)


def test_a_draw_without_an_image_of_a_class_names_it(build, oct_root):
    """Only natural_missing can draw so; without shots there is no draw to speak of."""
    options = {"SHOTS_SCENARIO": "natural_missing", "SPLIT_SEED": 2}
    with pytest.warns(UserWarning, match="has no image of") as caught:
        data = build(oct_root, NAME, NUM_SHOTS=1, **options)
    lacking = {item.classname for item in data.test} - {item.classname for item in data.train_x}
    assert lacking and [str(warning.message) for warning in caught] == [
        f"{NAME}: the draw has no image of {', '.join(sorted(lacking))} (DATASET.SHOTS_SCENARIO "
        "natural_missing); they are tested all the same"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build(oct_root, NAME, NUM_SHOTS=0, **options).train_x == []
        build(oct_root, NAME, NUM_SHOTS=4, **options)


@pytest.mark.filterwarnings("ignore:.*nothing tells")
def test_patients_that_nobody_knows_are_not_written_down(build, tmp_path):
    """Each image goes its own way then; its name is nobody's."""
    write_images(tmp_path, {"a": 6, "b": 6}, size=8)
    data = build(tmp_path, "FolderDataset")
    rows = [row for part in ("train", "val", "test") for row in data.split_record[part]]
    assert not data.patients_known and len(rows) == 12
    assert {row["patient"] for row in rows} == {""}
