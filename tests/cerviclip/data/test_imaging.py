"""ImagingDataset: splits by patient, pinned draws, records, and bad input in one line."""

from __future__ import annotations

import json
import os
import random
import warnings

import pytest
from PIL import Image

from cerviclip.data.imaging import ImagingDataset
from dassl.data.datasets import build_dataset
from dassl.errors import MissingFileError, UnknownNameError, UserError

NAME = "MixedCenterOCT"


def patients(items) -> set[str]:
    return {item.patient_id for item in items}


def names(items) -> list[str]:
    return [os.path.basename(item.impath) for item in items]


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_no_patient_is_on_two_parts_and_nothing_is_lost(build, oct_root):
    data = build(oct_root, NAME)
    parts = [patients(part) for part in (data.train_x, data.val, data.test)]
    assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert len(data.train_x) + len(data.val) + len(data.test) == 105
    assert data.num_classes == 5 and len(data.classnames) == 5


# What is drawn for (MixedCenterOCT, 1 shot, seed) from the files of the fixture. These change only
# when the rules of splitting or drawing change, which makes published draws unrepeatable.
SPLIT = "9b209e2a3884127ca71001aa1c8d2310d38675db94a315710b0703941aefb23f"
PINNED = {
    1: ["P0000001 C02", "P0001001 C00", "P0002003 C02", "P0003006 C02", "P0004006 C02"],
    2: ["P0000005 C01", "P0001002 C01", "P0002004 C01", "P0003003 C02", "P0004002 C01"],
}


@pytest.mark.parametrize("seed", PINNED)
def test_pinned_draw(make_cfg, oct_root, seed):
    cfg = make_cfg(oct_root, NAME, NUM_SHOTS=1)
    cfg.SEED = seed
    data = build_dataset(cfg)
    drawn = [f"{item.patient_id} {item.impath.split('_')[-2]}" for item in data.train_x]
    assert (data.split_hash, drawn) == (SPLIT, PINNED[seed])


def test_draws_nest_differ_by_seed_and_ignore_global_generators(oct_root, make_cfg):
    def draw(shots, seed, state=0):
        random.seed(state)
        cfg = make_cfg(oct_root, NAME, NUM_SHOTS=shots)
        cfg.SEED = seed
        data = build_dataset(cfg)
        return names(data.train_x), data.split_hash, data.draw_hash

    assert set(draw(1, 1)[0]) < set(draw(2, 1)[0]) < set(draw(4, 1)[0])
    assert draw(4, 1) == draw(4, 1, state=5)
    first, second = draw(4, 1), draw(4, 2)
    assert first[0] != second[0] and first[1] == second[1] and first[2] != second[2]


def test_order_of_the_listing_does_not_matter(build, oct_root, monkeypatch):
    before = build(oct_root, NAME, NUM_SHOTS=4)
    scandir = os.scandir

    class Reversed:
        def __init__(self, path):
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda e: e.name, reverse=True)

        def __enter__(self):
            return self.entries

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(os, "scandir", Reversed)
    after = build(oct_root, NAME, NUM_SHOTS=4)
    assert names(after.train_x) == names(before.train_x)
    assert names(after.test) == names(before.test)
    assert after.split_record == before.split_record


def test_hashes_do_not_depend_on_where_the_data_lie(build, oct_root, tmp_path_factory):
    before = build(oct_root, NAME, NUM_SHOTS=2)
    moved = tmp_path_factory.mktemp("elsewhere") / "data"
    os.rename(oct_root, moved)
    os.rename(moved / "mixed/images", moved / "mixed-center_OCT_images")
    after = build(moved, NAME, NUM_SHOTS=2)
    assert (after.split_hash, after.draw_hash) == (before.split_hash, before.draw_hash)
    assert names(after.train_x) == names(before.train_x)


def test_shots_are_counted_and_val_is_capped(build, oct_root):
    data = build(oct_root, NAME, NUM_SHOTS=2, NUM_SHOTS_VAL=1)
    assert len(data.train_x) == 10 and len(data.val) == 5
    full = build(oct_root, NAME, NUM_SHOTS=-1, NUM_SHOTS_VAL=1)
    assert len(full.val) > 5 and names(full.test) == names(data.test)
    zero = build(oct_root, NAME, NUM_SHOTS=0)
    assert zero.train_x == [] and zero.num_classes == 5


def test_too_many_shots_warn_with_counts_and_take_all(build, oct_root):
    with pytest.warns(UserWarning, match="64 shots asked.*cancer has 9"):
        data = build(oct_root, NAME, NUM_SHOTS=64)
    assert len(data.train_x) == len(build(oct_root, NAME).train_x)


def test_record_has_relative_paths_and_repeats_the_run(build, oct_root, tmp_path):
    data = build(oct_root, NAME, NUM_SHOTS=2)
    record = data.split_record
    text = json.dumps(record)
    assert str(oct_root) not in text
    assert set(record) >= {"dataset", "by", "ratio", "seed", "version", "hash", "draw_hash"}
    assert record["train"][0].keys() == {"path", "label", "patient"}
    for part, items in (("train", data.train_x), ("val", data.val), ("test", data.test)):
        assert [str(oct_root / row["path"]) for row in record[part]] == [d.impath for d in items]
        assert [row["patient"] for row in record[part]] == [d.patient_id for d in items]
    (tmp_path / "split.json").write_text(text)
    again = build(oct_root, NAME, SPLIT_FILE=str(tmp_path / "split.json"))
    assert sorted(names(again.train_x)) == sorted(names(data.train_x))
    assert names(again.test) == names(data.test) and again.split_record["by"] == "file"


def test_split_by_image_only_when_asked_and_with_a_warning(build, oct_root):
    with pytest.warns(UserWarning, match="split by image"):
        data = build(oct_root, NAME, SPLIT_BY="image")
    assert patients(data.train_x) & patients(data.test)
    with pytest.raises(UserError, match="SPLIT_BY.*patient or image"):
        build(oct_root, NAME, SPLIT_BY="frame")


def test_patient_with_frames_of_two_classes_stays_together(build, oct_root):
    for frame, name in enumerate(["cyst", "cancer", "ectropion"] * 4):
        file = f"M0008_2021_P0009999_circle_2.5x3.0_C{50 + frame}_S11.png"
        Image.new("L", (8, 8), 200 + frame).save(oct_root / "mixed/images" / name / file)
    for seed in range(5):
        data = build(oct_root, NAME, SPLIT_SEED=seed)
        parts = [p for p in (data.train_x, data.val, data.test) if "P0009999" in patients(p)]
        assert len(parts) == 1


def test_file_name_without_patient(build, oct_root):
    Image.new("L", (8, 8)).save(oct_root / "mixed/images/cyst/frame_7.png")
    with pytest.raises(UserError, match="1 of 106 file names") as error:
        build(oct_root, NAME)
    assert "cyst/frame_7.png" in one_line(error) and "PATIENT_PATTERN" in str(error.value)
    data = build(oct_root, NAME, PATIENT_PATTERN="stem")
    assert len(patients(data.train_x)) == len(data.train_x)


@pytest.mark.parametrize("pattern", ["P(", "P\\d{7}", "(P)(\\d)"])
def test_bad_pattern(build, oct_root, pattern):
    with pytest.raises(UserError, match="PATIENT_PATTERN"):
        build(oct_root, NAME, PATIENT_PATTERN=pattern)


def test_pattern_may_match_a_folder_between_class_and_file(build, tmp_path):
    for name in ("a", "b"):
        for patient in range(4):
            folder = tmp_path / name / f"patient-{patient}"
            folder.mkdir(parents=True)
            for frame in range(2):
                grey = 8 * patient + 2 * frame + (name == "b")
                Image.new("L", (8, 8), grey).save(folder / f"{frame}.png")
    with pytest.warns(UserWarning, match="4 of them have images in several classes"):
        data = build(tmp_path, "FolderDataset", PATIENT_PATTERN=r"patient-(\d+)")
    everybody = [*data.train_x, *data.val, *data.test]
    assert patients(everybody) == {"0", "1", "2", "3"} and len(everybody) == 16


def test_eight_digits_are_no_patient_of_seven(build, oct_root):
    file = "M0008_2021_P00001990_circle.png"
    Image.new("L", (8, 8)).save(oct_root / "mixed/images/cyst" / file)
    with pytest.raises(UserError, match="P00001990"):
        build(oct_root, NAME)


def test_wrong_class_folder(build, oct_root):
    folder = oct_root / "mixed/images/condyloma"
    folder.mkdir()
    build(oct_root, NAME)  # an empty folder harms nobody
    image = folder / "M0008_2021_P0000001_circle.png"
    Image.new("L", (8, 8)).save(image)
    with pytest.raises(UserError, match="condyloma.*CLASS_MAP") as error:
        build(oct_root, NAME)
    assert "mild_inflammation" in one_line(error)
    mapped = build(oct_root, NAME, CLASS_MAP={"condyloma": "cyst"})
    assert len(mapped.train_x) + len(mapped.val) + len(mapped.test) == 106
    left_out = build(oct_root, NAME, CLASS_MAP={"condyloma": ""})
    assert len(left_out.train_x) + len(left_out.val) + len(left_out.test) == 105


def test_fewer_classes_by_config(build, oct_root):
    data = build(oct_root, NAME, CLASSES=("cyst", "cancer"))
    assert data.classnames == ["cyst", "cancer"] and data.positive_classes == ["cancer"]
    assert {item.classname for item in data.test} == {"cyst", "cancer"}
    assert {item.label for item in data.test if item.classname == "cancer"} == {1}
    with pytest.raises(UserError, match="twice"):
        build(oct_root, NAME, CLASSES=("cyst", "cyst"))


def test_class_without_images(build, oct_root):
    for file in (oct_root / "mixed/images/cyst").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="no images of cyst.*CLASSES"):
        build(oct_root, NAME)


def test_class_of_one_patient_is_trained_on_and_warned_of(build, oct_root):
    for file in sorted((oct_root / "mixed/images/cyst").iterdir())[3:]:
        file.unlink()
    with pytest.warns(UserWarning, match="no images of cyst in test"):
        data = build(oct_root, NAME)
    assert sum(item.classname == "cyst" for item in data.train_x) == 3


def test_empty_roots(build, tmp_path):
    with pytest.raises(MissingFileError, match="mixed/images.*--root") as error:
        build(tmp_path, NAME)
    one_line(error)
    (tmp_path / "mixed/images/cyst").mkdir(parents=True)
    with pytest.raises(UserError, match="no images in class folders"):
        build(tmp_path, NAME)
    with pytest.raises(MissingFileError, match="nowhere"):
        build(tmp_path, NAME, FOLDER="nowhere")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nrest", b"not an image"])
def test_broken_image_is_named_before_training(build, oct_root, content):
    path = next((oct_root / "mixed/images/ectropion").iterdir())
    path.write_bytes(content)
    with pytest.raises(UserError, match="ectropion/M0008") as error:
        build(oct_root, NAME)
    one_line(error)


def test_hidden_and_foreign_files_are_not_read(build, oct_root):
    folder = oct_root / "mixed/images/cyst"
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "Thumbs.db").write_bytes(b"")
    (folder / "notes.csv").write_text("a,b")
    (oct_root / "mixed/images/.cache").mkdir()
    assert len(build(oct_root, NAME).train_x) == len(build(oct_root, NAME).train_x)


def test_positive_templates_and_prompt_sets(build, oct_root):
    data = build(oct_root, NAME)
    assert data.positive_classes == ["cancer", "high-grade_squamous_intraepithelial_lesion"]
    assert set(data.descriptions) == {"plain", "structural", "report"}
    assert all(set(texts) == set(data.classnames) for texts in data.descriptions.values())
    assert all("{}" in template for template in data.templates)
    changed = build(oct_root, NAME, POSITIVE=("cyst",), TEMPLATES=("{} here",))
    assert changed.positive_classes == ["cyst"] and changed.templates == ["{} here"]
    with pytest.raises(UnknownNameError, match="cist.*cyst"):
        build(oct_root, NAME, POSITIVE=("cist",))
    with pytest.raises(UserError, match="TEMPLATES"):
        build(oct_root, NAME, TEMPLATES=("no place",))
    with pytest.raises(UnknownNameError, match="strctural.*structural"):
        build(oct_root, NAME, PROMPT_SET="strctural")


def test_generated_datas_version_is_in_the_hash(make_cfg, oct_root):
    class One(ImagingDataset):
        dataset_dir = "mixed/images"
        patient_pattern = r"(P\d{7})"
        version = "1"

    class Two(One):
        version = "2"

    Two.__name__ = "One"
    cfg = make_cfg(oct_root, NAME)
    assert One(cfg).split_hash != Two(cfg).split_hash
    assert One(cfg).split_hash == One(cfg).split_hash


def test_a_subclass_may_set_its_own_ratio(make_cfg, oct_root):
    class Mostly(ImagingDataset):
        dataset_dir = "mixed/images"
        patient_pattern = r"(P\d{7})"
        split_ratio = (0.8, 0.1, 0.1)

    cfg = make_cfg(oct_root, NAME)
    assert len(Mostly(cfg).train_x) > 70
    cfg.DATASET.SPLIT_RATIO = (0.2, 0.1, 0.7)
    assert len(Mostly(cfg).train_x) < 40


def test_building_takes_no_draw_and_warns_of_nothing(build, oct_root):
    random.seed(4)
    expected = random.random()
    random.seed(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(oct_root, NAME, NUM_SHOTS=4)
    assert random.random() == expected


def test_shots_by_patient_come_from_distinct_patients_and_are_recorded(build, oct_root):
    data = build(oct_root, NAME, NUM_SHOTS=3, SHOTS_BY="patient")
    assert len(data.train_x) == 15 and len(patients(data.train_x)) == 15
    assert data.split_record["shots_by"] == "patient"
    usual = build(oct_root, NAME, NUM_SHOTS=3)
    assert len(patients(usual.train_x)) < 15 and "shots_by" not in usual.split_record
    with pytest.raises(UserError, match="SHOTS_BY"):
        build(oct_root, NAME, NUM_SHOTS=3, SHOTS_BY="slide")
