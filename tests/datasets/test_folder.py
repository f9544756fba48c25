"""Own images by config alone: class folders, ready-made splits, lists."""

from __future__ import annotations

import json

import pytest
from cases import DatasetCase
from data_fixtures import part_sizes
from PIL import Image

from dassl.data import DataManager
from dassl.errors import MissingFileError, UserError
from helpers import write_images

NAME = "FolderDataset"


def write_mine(root):
    write_images(root / "mine", {"a": 30, "b": 30}, patients=8, size=8)


CASE = DatasetCase(NAME, write_mine, {"FOLDER": "mine", "PATIENT_PATTERN": r"(P\d{7})"})
PATTERN = r"(P\d{7})"


def patients(items) -> set[str]:
    return {item.patient_id for item in items}


def test_class_folders(build, folder, tmp_path):
    words = tmp_path / "words.json"
    words.write_text(json.dumps({"benign": "even nuclei", "malign": ["dark nuclei", "mitoses"]}))
    data = build(
        folder,
        NAME,
        FOLDER="mine",
        PATIENT_PATTERN=PATTERN,
        POSITIVE=("malign",),
        TEMPLATES=("a slide of {} tissue.",),
        DESCRIPTIONS=str(words),
        NUM_SHOTS=2,
    )
    assert data.classnames == ["benign", "malign"] and data.positive_classes == ["malign"]
    assert len(data.train_x) == 4 and data.templates == ["a slide of {} tissue."]
    assert data.descriptions == {
        "descriptions": {"benign": ["even nuclei"], "malign": ["dark nuclei", "mitoses"]}
    }
    assert not patients(data.train_x) & patients(data.test)


def test_root_itself_and_classes_in_another_order(build, folder):
    data = build(folder / "mine", NAME, PATIENT_PATTERN=PATTERN, CLASSES=("malign", "benign"))
    assert data.lab2cname == {0: "malign", 1: "benign"} and sum(part_sizes(data)) == 24


def test_without_a_pattern_each_image_is_a_patient_and_it_says_so(build, folder):
    with pytest.warns(UserWarning, match="PATIENT_PATTERN"):
        data = build(folder, NAME, FOLDER="mine")
    assert patients(data.test) == {""} and sum(part_sizes(data)) == 24


def test_no_val_by_ratio(make_cfg, folder):
    cfg = make_cfg(folder, NAME, FOLDER="mine", PATIENT_PATTERN=PATTERN, SPLIT_RATIO=(0.5, 0, 0.5))
    cfg.DATALOADER.NUM_WORKERS = 0
    dm = DataManager(cfg)
    assert dm.val_loader is None and part_sizes(dm.dataset) == [12, 0, 12]


@pytest.mark.parametrize("val", ["val", "valid", None])
def test_ready_made_split_folders(build, tmp_path, val):
    for seed, part in enumerate(("train", "test", *([val] if val else []))):
        write_images(tmp_path / part, {"a": 3, "b": 3}, size=8, seed=seed)
    with pytest.warns(UserWarning, match="nobody checked.*two parts.*PATIENT_PATTERN"):
        data = build(tmp_path, NAME)
    assert part_sizes(data) == [6, 6 if val else 0, 6] and data.classnames == ["a", "b"]
    assert all("/train/" in item.impath for item in data.train_x)
    assert data.split_record["by"] == "folders" and data.split_record["ratio"] is None


def test_split_folders_that_share_a_patient_are_refused(build, tmp_path):
    for part, size in (("train", 8), ("test", 9)):
        write_images(tmp_path / part, {"a": 3, "b": 3}, patients=3, size=size)
    with pytest.raises(UserError, match="6 patients in two parts"):
        build(tmp_path, NAME, PATIENT_PATTERN=PATTERN)
    with pytest.warns(UserWarning, match="split by image"):
        data = build(tmp_path, NAME, PATIENT_PATTERN=PATTERN, SPLIT_BY="image")
    assert part_sizes(data) == [6, 0, 6]


def rows(folder):
    return [
        (path.relative_to(folder / "mine").as_posix(), path.parent.name)
        for path in sorted((folder / "mine").rglob("*.png"))
    ]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_list_with_patients(build, folder, kind):
    table = [(path, label, f"case{i % 8}") for i, (path, label) in enumerate(rows(folder))]
    file = folder / f"list.{kind}"
    if kind == "csv":
        lines = ["path,label,patient", *(",".join(row) for row in table)]
        file.write_text("\n".join(lines))
    else:
        keys = ("path", "label", "patient")
        file.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in table]))
    data = build(folder, NAME, FOLDER="mine", FILE=str(file))
    everybody = patients([*data.train_x, *data.val, *data.test])
    assert everybody == {f"case{i}" for i in range(8)} and sum(part_sizes(data)) == 24
    assert not patients(data.train_x) & patients(data.test)


def write_list(folder, patients: list[str]) -> None:
    """``list.csv`` of all 24 images, these patients in turn."""
    lines = [
        f"mine/{path},{label},{patients[i % len(patients)]}"
        for i, (path, label) in enumerate(rows(folder))
    ]
    (folder / "list.csv").write_text("\n".join(["path,label,patient", *lines]))


@pytest.mark.parametrize("head", ["fold", "CV fold", "kfold_id", "Test-Fold"])
def test_a_column_of_folds_is_not_passed_over_in_silence(build, folder, head):
    lines = [
        f"mine/{path},{label},P{i % 8},{i % 5}" for i, (path, label) in enumerate(rows(folder))
    ]
    (folder / "list.csv").write_text("\n".join([f"path,label,patient,{head}", *lines]))
    with pytest.warns(UserWarning, match=f"column {head} of list.csv is not used.*column split"):
        build(folder, NAME, FILE="list.csv")


def test_a_blank_patient_is_an_error_without_a_pattern(build, folder):
    write_list(folder, ["Ada", "Eve", ""])
    with pytest.raises(UserError, match=r"8 of 24 .*name no patient \(such as mine/.*png\)"):
        build(folder, NAME, FILE="list.csv")


def test_a_blank_patient_is_told_by_the_pattern_and_named_as_the_list_names_it(build, folder):
    table = rows(folder)  # each patient's two images one after the other
    lines = ["path,label,patient"]
    for i, (path, label) in enumerate(table):
        known = i % 2 == 0 and "P0000003" not in path
        lines.append(f"mine/{path},{label},{f'name{i}' if known else ''}")
    (folder / "list.csv").write_text("\n".join(lines))
    data = build(folder, NAME, FILE="list.csv", PATIENT_PATTERN=PATTERN)
    told = {}
    for item in (*data.train_x, *data.val, *data.test):
        told.setdefault(item.impath.split("_")[-3], set()).add(item.patient_id)
    assert told.pop("P0000003") == {"P0000003"} and len(told) == 11
    assert all(len(ids) == 1 and next(iter(ids)).startswith("name") for ids in told.values())
    assert not patients(data.train_x) & patients(data.test)


def test_a_blank_patient_whom_the_list_calls_by_two_names(build, folder):
    write_list(folder, ["Ada", "Eve", ""])
    with pytest.raises(UserError, match="it is of P000, whom the list calls Ada and Eve"):
        build(folder, NAME, FILE="list.csv", PATIENT_PATTERN=r"(P\d{3})")


def test_list_with_split_and_paths_relative_to_the_list(build, folder):
    parts = ["train"] * 10 + ["test"] * 2
    lines = ["path,label,split"]
    for (path, label), part in zip(rows(folder), parts * 2, strict=True):
        lines.append(f"mine/{path},{label},{part}")
    (folder / "list.csv").write_text("\n".join(lines))
    with pytest.warns(UserWarning, match="nobody checked"):
        data = build(folder, NAME, FILE="list.csv")
    assert part_sizes(data) == [20, 0, 4]


def test_labels_of_a_list_need_no_class_folders(build, tmp_path):
    lines = ["path,label,split"]
    for i in range(8):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{'odd' if i % 2 else 'even'},{'train' if i < 4 else 'test'}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.warns(UserWarning, match="nobody checked"):
        data = build(tmp_path, NAME, FILE="list.csv")
    assert data.classnames == ["even", "odd"]
    assert [item.classname for item in data.test] == ["even", "odd", "even", "odd"]


@pytest.mark.parametrize(
    ("line", "error", "word"),
    [
        ("gone.png,benign,train", MissingFileError, r"1 of 1 .*gone\.png"),
        ("../outside.png,benign,train", UserError, "outside"),
        ("benign/one.png,,train", UserError, "no label"),
        ("benign/one.png,benign,fold7", UserError, "fold7"),
        ("benign/one.png,benign,train\nbenign/one.png,benign,train", UserError, "twice"),
        ("benign/one.png,benign,train\nmalign/one.png,malign,", UserError, "no split"),
        (
            "benign/one.png,benign,train\nmalign/one.png,malign,train",
            UserError,
            "no images in test",
        ),
    ],
)
def test_what_is_wrong_with_a_list(build, tmp_path, line, error, word):
    Image.new("L", (8, 8)).save(tmp_path / "outside.png")
    for name in ("benign", "malign"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "mine" / name / "one.png")
    (tmp_path / "mine/list.csv").write_text(f"path,label,split\n{line}\n")
    with pytest.raises(error, match=word) as raised:
        build(tmp_path, NAME, FOLDER="mine", FILE="list.csv")
    assert "\n" not in str(raised.value)


def test_a_column_of_labels_by_another_name_is_pointed_at(build, tmp_path):
    (tmp_path / "mine" / "images").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "mine" / "images" / "one.png")
    (tmp_path / "mine/list.csv").write_text("path,Befund\nimages/one.png,HSIL\n")
    with pytest.raises(UserError, match=r"call its column of labels label \(not used: Befund\)"):
        build(tmp_path, NAME, FOLDER="mine", FILE="list.csv")


def test_missing_folder_and_list(build, tmp_path):
    with pytest.raises(MissingFileError, match="no folder.*nowhere"):
        build(tmp_path, NAME, FOLDER="nowhere")
    with pytest.raises(MissingFileError, match="none.csv"):
        build(tmp_path, NAME, FILE="none.csv")
    with pytest.raises(UserError, match="no images"):
        build(tmp_path, NAME)


@pytest.mark.filterwarnings("ignore:.*nothing tells")
@pytest.mark.parametrize(
    "words", [("Training", "Testing"), ("train_set", "eval"), ("TRAIN", "test")]
)
def test_split_folders_under_their_usual_names(build, tmp_path, words):
    """Fault 4: they became the classes."""
    for seed, word in enumerate(words):
        write_images(tmp_path / word, {"a": 3, "b": 3}, size=8, seed=seed)
    data = build(tmp_path, NAME)
    assert data.classnames == ["a", "b"] and part_sizes(data) == [6, 0, 6]


@pytest.mark.parametrize("words", [("train", "val"), ("train", "validation"), ("train",)])
def test_split_folders_without_a_test_are_refused(build, tmp_path, words):
    for seed, word in enumerate(words):
        write_images(tmp_path / word, {"a": 3, "b": 3}, size=8, seed=seed)
    with pytest.raises(UserError, match=f"has {' and '.join(words)} but no test folder"):
        build(tmp_path, NAME)


@pytest.mark.filterwarnings("ignore:.*nothing tells")
def test_folders_beside_the_parts_are_named_and_two_of_a_kind_refused(build, tmp_path):
    for seed, word in enumerate(("train", "test", "extra")):
        write_images(tmp_path / word, {"a": 3, "b": 3}, size=8, seed=seed)
    with pytest.warns(UserWarning, match="read are the parts test, train; not extra"):
        build(tmp_path, NAME)
    (tmp_path / "Testing").mkdir()
    with pytest.raises(UserError, match="Testing and test both mean test"):
        build(tmp_path, NAME)


@pytest.mark.filterwarnings("ignore:.*nothing tells")
def test_a_class_called_as_a_part_is_still_a_class(build, tmp_path):
    write_images(tmp_path, {"test": 6, "control": 6}, size=8)
    assert build(tmp_path, NAME).classnames == ["control", "test"]


def test_neither_part_nor_class_tells_the_patient(build, tmp_path):
    """Fault 53."""
    for seed, part in enumerate(("train", "test")):
        write_images(tmp_path / part, {"CIN1": 3, "CIN2": 3}, size=8, seed=seed)
    with pytest.raises(UserError, match="12 of 12 file names .* hold no patient"):
        build(tmp_path, NAME, PATIENT_PATTERN=r"CIN(\d+)")


@pytest.mark.filterwarnings("ignore:.*have images in several classes")
def test_every_folder_of_a_list_may_tell_the_patient(build, tmp_path):
    lines = ["path,label"]
    for number in range(6):
        for path in write_images(tmp_path / f"P{number}", {"a": 2, "b": 2}, size=8, seed=number):
            lines.append(f"{path.relative_to(tmp_path).as_posix()},{path.parent.name}")
    (tmp_path / "l.csv").write_text("\n".join(lines))
    data = build(tmp_path, NAME, FILE="l.csv", PATIENT_PATTERN=r"P(\d+)")
    everybody = patients([*data.train_x, *data.val, *data.test])
    assert everybody == set("012345") and not patients(data.train_x) & patients(data.test)


@pytest.mark.filterwarnings("ignore:.*nothing tells")
@pytest.mark.parametrize(
    "form", ["/home/x/data/{}", "C:\\data\\{}", "\\\\server\\d\\{}", "mine/{}"]
)
def test_lists_with_paths_of_another_machine(build, folder, form):
    """Fault 50."""
    lines = [f"{form.format(path)},{label}" for path, label in rows(folder)]
    (folder / "mine/l.csv").write_text("\n".join(["path,label", *lines]))
    data = build(folder / "mine", NAME, FILE="l.csv")
    assert sum(part_sizes(data)) == 24 and data.classnames == ["benign", "malign"]
    assert any("24 paths were found by their last parts" in note for note in data.notes)


@pytest.mark.filterwarnings("ignore:.*nothing tells")
def test_labels_that_are_numbers_do_not_contradict_the_folders(build, tmp_path):
    """Fault 23: 4 as the index of folder "2" was taken for the class "4"."""
    write_images(tmp_path / "named", {"cat": 6, "dog": 6}, size=8)
    write_images(tmp_path / "numbered", {str(n): 4 for n in (2, 10, 30)}, size=8)
    for place in ("named", "numbered"):
        names = sorted(p.name for p in (tmp_path / place).iterdir())
        paths = sorted((tmp_path / place).rglob("*.png"))
        labels = [
            [p.relative_to(tmp_path / place).as_posix(), names.index(p.parent.name)] for p in paths
        ]
        (tmp_path / place / "l.json").write_text(json.dumps(labels))
    assert build(tmp_path / "named", NAME, FILE="l.json").classnames == ["cat", "dog"]
    with pytest.raises(UserError, match="label 0 to the images of folder 10, and both are numbers"):
        build(tmp_path / "numbered", NAME, FILE="l.json")


@pytest.mark.filterwarnings("ignore:.*nothing tells")
def test_a_split_file_may_show_classes_under_other_names(build, folder):
    """Fault 52."""
    shown = {"benign": "benign cells", "malign": "malignant cells"}
    table = [[path, 0, shown[label]] for path, label in rows(folder)]
    parts = {"train": table[:8] + table[12:20], "test": table[8:12] + table[20:]}
    (folder / "s.json").write_text(json.dumps(parts))
    data = build(folder, NAME, FOLDER="mine", SPLIT_FILE=str(folder / "s.json"))
    assert part_sizes(data) == [16, 0, 8] and data.classnames == ["benign", "malign"]
    swapped = {"benign": "malign", "malign": "benign"}
    table = [[path, 0, swapped[label]] for path, label in rows(folder)]
    (folder / "s.json").write_text(json.dumps({"train": table[:8], "test": table[12:]}))
    with pytest.raises(UserError, match="its folder says benign.*CLASS_MAP"):
        build(folder, NAME, FOLDER="mine", SPLIT_FILE=str(folder / "s.json"))


@pytest.mark.filterwarnings("ignore:.*nothing tells")
def test_numbers_that_folders_contradict_are_refused(build, folder):
    """The folders decided in silence, where the list meant other classes."""
    table = [[path, n % 2] for n, (path, _) in enumerate(rows(folder))]
    (folder / "s.json").write_text(json.dumps({"train": table[:8] + table[12:20], "test": []}))
    with pytest.raises(UserError, match="gives the label 0 to .* of benign and malign.*correct"):
        build(folder, NAME, FOLDER="mine", SPLIT_FILE=str(folder / "s.json"))


def test_a_list_of_the_numbers_that_the_folders_are_called_by(build, tmp_path):
    """1.0 in a table is the folder 1.0."""
    write_images(tmp_path / "mine", {"1.0": 6, "02": 6}, size=8)
    found = [(f"{p.parent.name}/{p.name}", p.parent.name) for p in sorted(tmp_path.rglob("*.png"))]
    lines = [f"{path},{float(name)},P{n}" for n, (path, name) in enumerate(found)]
    (tmp_path / "mine" / "l.csv").write_text("\n".join(["path,label,patient", *lines]))
    data = build(tmp_path, NAME, FOLDER="mine", FILE="l.csv")
    assert data.classnames == ["1", "2"] and sum(part_sizes(data)) == 12


def test_a_class_that_is_two_others_and_patients_that_are_nobody_are_warned_of(build, folder):
    found = rows(folder)
    lines = [f'{p},"{"benign;malign" if n % 4 == 0 else label}",-' for n, (p, label) in
             enumerate(found)]  # fmt: skip
    lines = [line if n % 3 else line[:-1] + f"P{n}" for n, line in enumerate(lines)]
    (folder / "l.csv").write_text("\n".join(["path,label,patient", *lines]))
    with (
        pytest.warns(UserWarning, match='class "benign;malign" is several of the others'),
        pytest.warns(UserWarning, match='images are of the patient "-"'),
    ):
        build(folder, NAME, FOLDER="mine", FILE=str(folder / "l.csv"))


def test_leaving_out_everything_is_refused_by_its_name(build, folder):
    with pytest.raises(UserError, match="LEAVE_OUT leaves out all 24 images"):
        build(folder, NAME, FOLDER="mine", LEAVE_OUT=("*",))


def test_columns_that_may_be_the_patients_are_named_in_the_warning(build, folder):
    lines = [f"{path},{label},S{n % 4}" for n, (path, label) in enumerate(rows(folder))]
    (folder / "l.csv").write_text("\n".join(["path,label,scan", *lines]))
    with pytest.warns(UserWarning, match="nothing tells.*not used: scan"):
        build(folder, NAME, FOLDER="mine", FILE=str(folder / "l.csv"))


@pytest.mark.filterwarnings("ignore:.*nothing tells")
@pytest.mark.parametrize("parts", [("train", "val"), ("train", "val", "test")])
def test_images_that_a_split_file_leaves_out_are_no_test(build, folder, parts):
    """Fault 3: they became the test, also where "test" was there and empty."""
    table = [path for path, _ in rows(folder)]
    content = {"train": table[:8] + table[12:20], "val": table[8:9] + table[20:21], "test": []}
    text = json.dumps({part: content[part] for part in parts})
    (folder / "s.json").write_text(text)
    with pytest.raises(UserError, match="has no test images"):
        build(folder, NAME, FOLDER="mine", SPLIT_FILE=str(folder / "s.json"))


@pytest.mark.filterwarnings("ignore:.*nothing tells")
def test_parts_that_no_word_tells_are_not_taken_as_classes_in_silence(build, tmp_path):
    for part in ("fold0", "fold1"):
        write_images(tmp_path / "mine" / part, {"a": 6, "b": 6}, size=8, seed=ord(part[-1]))
    with pytest.warns(UserWarning, match=r'"fold0" and "fold1" hold the same folders \(a, b\).*'):
        data = build(tmp_path, NAME, FOLDER="mine")
    assert data.classnames == ["fold0", "fold1"]
    write_images(tmp_path / "mine" / "train", {"a": 6, "b": 6}, size=8, seed=9)
    with pytest.raises(UserError, match='hold the same folders.* and "train" is a part of a split'):
        build(tmp_path, NAME, FOLDER="mine")


@pytest.mark.filterwarnings("ignore:.*nothing tells")
@pytest.mark.parametrize(
    "words", [("Training", "Validierung", "Test"), ("训练集", "验证集", "测试集")]
)
def test_folders_of_parts_in_other_languages(build, tmp_path, words):
    for n, part in enumerate(words):
        write_images(tmp_path / "mine" / part, {"a": 6, "b": 4}, size=8, seed=n)
    data = build(tmp_path, NAME, FOLDER="mine")
    assert part_sizes(data) == [10, 10, 10] and data.classnames == ["a", "b"]


def test_parts_inside_of_class_folders(build, tmp_path):
    for name in ("a", "b"):
        write_images(tmp_path / name, {"Train": 4, "test": 2}, patients=4, size=8, seed=ord(name))
    data = build(tmp_path, NAME, PATIENT_PATTERN=PATTERN)
    assert part_sizes(data) == [8, 0, 4] and data.classnames == ["a", "b"]
    assert all("/test/" in item.impath for item in data.test)
    assert data.below_parts(["a/Train/deep/x.png"]) == ["a/deep/x.png"]
    write_images(tmp_path, {"c": 2}, size=8)
    with pytest.raises(UserError, match=r"a holds the parts of a split \(Train, test\) and c does"):
        build(tmp_path, NAME)


@pytest.mark.parametrize("column", ["batch7", "benign"])
def test_a_column_of_folders_counts_where_the_images_lie_there(build, folder, column):
    names = sorted(path.name for path in (folder / "mine" / "benign").iterdir())
    rows = [f"{column},{name},{'x' if i % 2 else 'y'}" for i, name in enumerate(names)]
    (folder / "l.csv").write_text("\n".join(["folder,image,label", *rows]))
    place = "mine" if column == "benign" else "mine/benign"
    data = build(folder, NAME, FOLDER=place, FILE="l.csv", PATIENT_PATTERN=PATTERN)
    assert sum(part_sizes(data)) == 12 and data.classnames == ["x", "y"]


def test_patients_in_two_spellings_are_pointed_out(build, folder):
    names = sorted(path.name for path in (folder / "mine" / "benign").iterdir())
    rows = [f"benign/{name},{'xy'[i % 2]},{'pP'[i % 2]}{i // 4}" for i, name in enumerate(names)]
    (folder / "mine" / "l.csv").write_text("\n".join(["path,label,patient", *rows]))
    with pytest.warns(UserWarning, match='3 groups of patients differ only.*"P0" and "p0"'):
        build(folder, NAME, FOLDER="mine", FILE="l.csv")


def test_shares_that_are_none_are_told_as_they_are_taken(build, folder):
    options = {"FOLDER": "mine", "PATIENT_PATTERN": PATTERN}
    for ratio, said in (((0.6, 0.2, 0.1), True), ((60, 20, 20), False), ((0.5, 0.2, 0.3), False)):
        data = build(folder, NAME, SPLIT_RATIO=ratio, **options)
        assert any("adds up to 0.9; it is taken as 67 %" in note for note in data.notes) == said


@pytest.mark.filterwarnings("ignore:.*hold the same folders")
def test_a_split_file_of_a_deeper_folder_names_that_folder(build, folder):
    table = [[f"mine/{path}", 0, label] for path, label in rows(folder)]
    (folder / "s.json").write_text(json.dumps({"train": table[:8], "test": table[12:]}))
    write_images(folder / "yours", {"benign": 3, "malign": 3}, size=8, seed=4)
    options = {"SPLIT_FILE": str(folder / "s.json"), "PATIENT_PATTERN": "stem"}
    with pytest.raises(UserError, match="its folder says mine; set DATASET.FOLDER mine, which"):
        build(folder, NAME, FOLDER=".", **options)
    with pytest.raises(UserError, match="not among the images.*DATASET.FOLDER"):
        build(folder, NAME, FOLDER="yours", **options)
