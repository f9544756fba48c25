"""Split files in every form people have, and what is wrong with a file in one line."""

from __future__ import annotations

import json
import os
import pickle
import sys
import types

import pytest

from cerviclip.data.files.lists.entries import Entry
from cerviclip.data.files.lists.reading import read_list_file
from cerviclip.data.split.files import place_entries, read_split_file
from cerviclip.data.split.patient_grouped import Item
from dassl.data.datasets import Datum
from dassl.errors import MissingFileError, UserError

NAME = "MixedCenterOCT"
ITEMS = [
    Item(f"{name}/P{p}_{f}.png", label, name, f"P{p}")
    for label, name in enumerate(["cancer", "cyst"])
    for p in range(label * 4, label * 4 + 4)
    for f in range(2)
]
ROOT, FOLDER = "/data", "/data/mixed/images"


def place(entries, **options):
    return place_entries(entries, ITEMS, "split.json", ROOT, FOLDER, **options)


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


FORMS = {
    "ours.json": {
        "classes": ["cancer", "cyst"],
        "train": [{"path": "mixed/images/cancer/P0_0.png", "label": 0, "patient": "P0"}],
        "val": [],
        "test": [{"path": "mixed/images/cyst/P4_0.png", "label": 1, "patient": "P4"}],
    },
    "coop.json": {
        "train": [["cancer/P0_0.png", 0, "cancer"]],
        "val": [],
        "test": [["cyst/P4_0.png", 1, "cyst"]],
    },
    "paths.json": {"train": ["cancer/P0_0.png"], "test": ["cyst/P4_0.png"]},
    "classwise.json": {
        "train": {"cancer": ["cancer/P0_0.png"]},
        "test": {"cyst": ["cyst/P4_0.png"]},
    },
    "rows.json": [
        {"path": "cancer/P0_0.png", "label": "cancer", "split": "train"},
        {"image": "cyst/P4_0.png", "class": "cyst", "split": "TEST"},
    ],
    "table.csv": "path,label,split,patient\n"
    "cancer/P0_0.png,cancer,train,P0\ncyst/P4_0.png,cyst,test,\n",
    "table.tsv": "path\tlabel\tsplit\n"
    "cancer\\P0_0.png\tcancer\ttrain\ncyst\\P4_0.png\tcyst\ttest\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_split(tmp_path, name):
    split = place(read_split_file(write(tmp_path / name, FORMS[name])))
    found = {part: [item.path for item in items] for part, items in split.items()}
    assert found == {"train": ["cancer/P0_0.png"], "val": [], "test": ["cyst/P4_0.png"]}
    assert split["train"][0].patient == "P0"


def test_names_of_parts(tmp_path):
    content = {"Train": ["a"], "valid": ["b"], "test": ["c"]}
    entries = read_split_file(write(tmp_path / "s.json", content))
    assert [entry.part for entry in entries] == ["train", "val", "test"]


@pytest.mark.filterwarnings("ignore:.*no images of")
def test_upstreams_few_shot_pickle(build, oct_root, tmp_path):
    """Absolute paths of another machine; the test part is the patients it does not name."""
    full = build(oct_root, NAME)
    train = full.train_x[:4]
    content = {"train": train, "val": full.val[:2]}
    for item in (*train, *full.val[:2]):
        item._impath = "/home/somebody/" + os.path.relpath(item.impath, oct_root / "mixed")
        del item.__dict__["_patient_id"]  # upstream's Datum has none
    path = tmp_path / "shot_1-seed_1.pkl"
    path.write_bytes(pickle.dumps(content))
    data = build(oct_root, NAME, SPLIT_FILE=str(path))
    assert [os.path.basename(d.impath) for d in data.train_x] == [
        os.path.basename(d.impath) for d in sorted(train, key=lambda d: d.impath)
    ]
    used = {d.patient_id for d in (*data.train_x, *data.val)}
    assert "" not in used and data.test and not used & {d.patient_id for d in data.test}


@pytest.mark.parametrize("patient", ["", "case 7", "P5"])
def test_no_patient_of_a_file_without_test_images_is_left_for_the_test(patient):
    """Whether the file names patients as the data set does, otherwise, or not at all."""
    drawn = ["cancer/P0_0.png", "cyst/P4_1.png"]
    entries = [Entry(path, patient=patient, part="train") for path in drawn]
    assert place(entries)["test"] == []
    split = place(entries, rest_is_test=True)
    assert [item.path for item in split["train"]] == drawn
    assert split["test"] and not {"P0", "P4", patient} & {item.patient for item in split["test"]}


def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    path = tmp_path / "shot_1-seed_1.pkl"
    path.write_bytes(pickle.dumps({"train": [Hostile()], "val": []}))
    with pytest.raises(UserError, match=r"shot_1-seed_1\.pkl"):
        read_split_file(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("s.json", "{not json", "JSON"),
        ("s.json", {"folds": []}, "folds"),
        ("s.json", {"train": "cancer/P0_0.png"}, "list of images"),
        ("s.json", {"train": [3]}, r"train\[0\]"),
        ("s.json", {"train": [{"label": 1}]}, "path"),
        ("s.json", {"train": [], "test": []}, "lists no images"),
        ("s.json", "3", "object"),
        ("s.csv", "name,label\na,b\n", "line 1.*no column of paths.*image"),
        ("s.csv", "path,label,split\na.png,b,fold7\n", "fold7.*train, val, test"),
        ("s.csv", "", "no images"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path, name, content, word):
    with pytest.raises(UserError, match=word) as error:
        read_split_file(write(tmp_path / name, content))
    assert "\n" not in str(error.value) and name in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="none.json"):
        read_list_file(tmp_path / "none.json")


@pytest.mark.parametrize("path", ["../../other/x.png", "/etc/passwd", "mixed/../../x.png"])
def test_paths_outside_the_root(path):
    with pytest.raises(UserError, match="outside.*/data"):
        place([Entry(path, part="train")])


def test_absent_files_are_counted():
    entries = [Entry("cancer/P0_0.png", part="train"), Entry("cyst/gone.png", part="test")]
    with pytest.raises(MissingFileError, match=r"1 of 2 .*cyst/gone\.png"):
        place(entries)


def test_patient_on_two_parts_is_refused_unless_by_image():
    entries = [Entry("cancer/P0_0.png", part="train"), Entry("cancer/P0_1.png", part="test")]
    with pytest.raises(UserError, match="1 patient in.*P0 is in train and test.*SPLIT_BY image"):
        place(entries)
    assert len(place(entries, by="image")["test"]) == 1
    # What the file says of patients counts more than the file's name.
    told = [Entry(e.path, patient=str(i), part=e.part) for i, e in enumerate(entries)]
    assert place(told)["test"][0].patient == "1"


def test_twice_and_contradicted():
    with pytest.raises(UserError, match="twice"):
        place([Entry("cyst/P4_0.png", part="train"), Entry("cyst/P4_0.png", part="train")])
    with pytest.raises(UserError, match="calls cyst/P4_0.png cancer"):
        place([Entry("cyst/P4_0.png", "cancer", part="train")])


def deep(*paths):
    """Images whose class is the first folder of their path."""
    return [Item(path, 0, path.split("/")[0], path) for path in paths]


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("batch/cyst/x.png", "mixed/images/batch"),
        ("batch/set2/cyst/x.png", "mixed/images/batch/set2"),
        ("batch/cyst/set2/x.png", "mixed/images/batch"),
    ],
)
def test_class_folders_that_lie_deeper_lead_to_their_folder(path, folder):
    entries = [Entry(path, "cyst", part="train"), Entry("other/cyst/y.png", "cyst", part="train")]
    with pytest.raises(UserError, match=f"set DATASET.FOLDER {folder}, which holds"):
        place_entries(entries, deep(path, "other/cyst/y.png"), "s.json", ROOT, FOLDER)


def test_the_class_folder_that_is_meant_is_not_the_first_of_its_name():
    items = [Item("cyst/batch/cyst/x.png", 0, "Cysts", "x"), *deep("other/cyst/y.png")]
    entries = [Entry(item.path, "cyst", part="train") for item in items]
    with pytest.raises(UserError, match="set DATASET.FOLDER mixed/images/cyst/batch, which"):
        place_entries(entries, items, "s.json", ROOT, FOLDER)


def test_a_class_that_is_no_folder_of_the_path_leads_to_the_names():
    entries = [Entry("cyst/P4_0.png", "cancer", part="train")]
    with pytest.raises(UserError, match="correct one of them, or .* DATASET.CLASS_MAP"):
        place(entries)


def test_names_of_a_file_that_stand_for_folders_one_to_one_are_taken():
    shown = {"cancer/P0_0.png": "Karzinom", "cancer/P1_0.png": "Karzinom", "cyst/P4_0.png": "Zyste"}
    split = place([Entry(path, name, part="train") for path, name in shown.items()])
    assert [item.classname for item in split["train"]] == ["cancer", "cancer", "cyst"]
    for other in ("cyst", "Zyste"):  # another folder's name, and one name for two folders
        with pytest.raises(
            UserError, match=f"calls cancer/P._0.png (Karzinom|{other}), its folder"
        ):
            place([Entry(p, other if "P1" in p else n, part="train") for p, n in shown.items()])


def test_one_number_of_two_folders_is_refused():
    entries = [Entry(f"{name}/P{p}_0.png", "1", part="train") for name, p in
               (("cancer", 0), ("cyst", 4))]  # fmt: skip
    with pytest.raises(UserError, match="^split.json gives the label 1 to cancer/P0_0.png and to "):
        place(entries)
    assert len(place([*entries[:1], Entry("cancer/gone.png", "1", part="train")][:1])["train"]) == 1


def test_a_path_without_the_folder_of_its_column_is_found():
    [item] = place([Entry("cyst/P0_0.png", part="val", alone="cancer/P0_0.png")])["val"]
    assert item.path == "cancer/P0_0.png"


def test_what_was_left_out_is_noted_for_the_caller():
    notes = []
    place([Entry("cyst/P4_0.png", part="train")], notes=notes)
    assert notes == ["15 of 16 images are in no part of it"]


@pytest.mark.parametrize("path", ["mixed/images/cancer/P0_0.png", "../images/cancer/P0_0.png"])
def test_a_path_from_the_root_or_the_image_folder_is_known_as_it_stands(path):
    """Not by its last parts, of which the reader would be told."""
    notes = []
    [item] = place([Entry(path, part="test")], notes=notes)["test"]
    assert item.path == "cancer/P0_0.png"
    assert notes == ["15 of 16 images are in no part of it"]


def test_what_is_wrong_with_a_data_sets_file_names_file_and_folder(build, oct_root, tmp_path):
    file = write(tmp_path / "my.json", {"train": ["cyst/gone.png"], "test": []})
    with pytest.raises(MissingFileError) as error:
        build(oct_root, NAME, SPLIT_FILE=str(file))
    assert f"in {file} are not" in str(error.value)
    assert f"under {oct_root / 'mixed/images'} (first" in str(error.value)
    write(file, {"train": ["../../elsewhere/x.png"], "test": []})
    with pytest.raises(UserError, match=f"my.json points outside the data's root {oct_root}: "):
        build(oct_root, NAME, SPLIT_FILE=str(file))


def test_split_file_of_a_data_set(build, oct_root, tmp_path):
    full = build(oct_root, NAME)
    rows = {
        part: [os.path.relpath(item.impath, oct_root / "mixed/images") for item in items]
        for part, items in (("train", full.test), ("val", full.val), ("test", full.train_x))
    }
    path = write(tmp_path / "turned.json", rows)
    data = build(oct_root, NAME, SPLIT_FILE=str(path), NUM_SHOTS=2)
    assert len(data.train_x) == 10 and len(data.test) == len(full.train_x)
    assert data.split_hash != full.split_hash and data.split_record["by"] == "file"
    with pytest.raises(MissingFileError, match="nowhere.json"):
        build(oct_root, NAME, SPLIT_FILE="nowhere.json")


def test_split_file_relative_to_the_root(build, oct_root):
    record = build(oct_root, NAME).split_record
    write(oct_root / "my_split.json", record)
    assert build(oct_root, NAME, SPLIT_FILE="my_split.json").split_hash == record["hash"]


def test_pickles_of_old_module_paths_need_no_old_module(tmp_path):
    """Only our own Datum's path is known; another module's class is refused."""
    module = types.ModuleType("elsewhere_datasets")
    module.Datum = type("Datum", (Datum,), {"__module__": "elsewhere_datasets"})
    sys.modules["elsewhere_datasets"] = module
    try:
        item = object.__new__(module.Datum)
        content = pickle.dumps({"train": [item], "val": []})
    finally:
        del sys.modules["elsewhere_datasets"]
    path = tmp_path / "s.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match="elsewhere_datasets"):
        read_split_file(path)


@pytest.mark.parametrize("label", [0, "0"])
def test_numbers_as_labels_are_read_from_json_as_from_csv(tmp_path, label):
    """A list says "0" in either form; with declared classes it is the first of them."""
    rows = [{"path": "a.png", "label": label}, {"path": "b.png", "label": 1}]
    lists = [
        read_list_file(write(tmp_path / "l.json", rows)),
        read_list_file(write(tmp_path / "l.csv", "path,label\na.png,0\nb.png,1\n")),
    ]
    assert [[entry.classname for entry in entries] for entries in lists] == [["0", "1"]] * 2
    split = {"classes": ["cancer", "cyst"], "train": rows}
    entries = read_split_file(write(tmp_path / "s.json", split))
    assert [entry.classname for entry in entries] == ["cancer", "cyst"]


def test_numbers_without_classes_contradict_no_folder_that_is_no_number(tmp_path):
    rows = [["cyst/P4_0.png", 1], {"path": "cancer/P0_0.png", "label": 0}]
    split = place(read_split_file(write(tmp_path / "s.json", {"train": rows, "test": []})))
    assert [item.classname for item in split["train"]] == ["cyst", "cancer"]
