"""Lists of images in the dialects that people save."""

from __future__ import annotations

import json

import pytest

from cerviclip.data.files.lists.entries import Entry
from cerviclip.data.files.lists.reading import read_list_file
from cerviclip.data.split.files import read_split_file
from dassl.errors import UserError

ROWS = [("a/0.png", "a"), ("b/0.png", "b")]
WANTED = [Entry(path, label) for path, label in ROWS]


def save(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def table(sep=",", head="path,label", before="", after=""):
    lines = [head.replace(",", sep), *(sep.join(row) for row in ROWS)]
    return before + "\n".join(lines) + "\n" + after


DIALECTS = {
    "semicolon": table(";"),
    "tab": table("\t"),
    "bar": table("|"),
    "sep": table(";", before="sep=;\n"),
    "empty rows": table(after=",\n\n , \n"),
    "comment": table(before="# my list\n\n", after="# the end\n"),
    "blanks": table(", "),
    "byte order mark": "\ufeff" + table(),
    "capitals": table(head="Path,Label"),
    "huggingface": table(head="file_name,label"),
    "image path": table(head="Image Path,Class"),
    "filename": table(head="filename,Diagnosis"),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_dialects_of_tables(tmp_path, name):
    """Faults 45 and 49."""
    for suffix in (".csv", ".txt"):
        assert read_list_file(save(tmp_path / f"l{suffix}", DIALECTS[name])) == WANTED


def test_utf_16_as_excel_saves_it(tmp_path):
    assert read_list_file(save(tmp_path / "l.csv", table("\t"), "utf-16")) == WANTED


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("l.xlsx", "PK", "spreadsheet; save it as CSV"),
        ("l.csv", "foo,bar\n1,2\n", r"line 1 has no column of paths \(it has foo, bar\).*image"),
        ("l.csv", "path,label\na,b.png,x\n", "line 2 has 3 cells, its head 2"),
        ("l.csv", "path,label\n,x\n", 'line 2 has no "path"'),
        ("l.csv", "path,class,label\na.png,x,y\n", '"class" and "label" give two classes'),
        ("l.dat", "path;label", "lists are CSV, JSON"),
    ],
)
def test_what_is_wrong_is_said_by_line(tmp_path, name, content, word):
    with pytest.raises(UserError, match=word):
        read_list_file(save(tmp_path / name, content))


def test_a_list_that_is_no_utf_8(tmp_path):
    with pytest.raises(UserError, match="not a CSV file in UTF-8"):
        read_list_file(save(tmp_path / "l.csv", table().replace("a", "ä"), "latin-1"))


@pytest.mark.parametrize(
    "head",
    [
        *("Patient", "patient id", "PatientID", "SubjectID", "Case No.", "slide_id", "Fall-Nr"),
        *("Patient #", "Patient (ID)", "MRN", "Patienten-ID", "病人编号", "患者ID", "specimen_id"),
    ],
)
def test_the_patients_column_in_any_spelling(tmp_path, head):
    """Fault 6: unread, patients fell in two parts."""
    text = f"path,label,{head},Split\na.png,a,P1,Training\nb.png,b,P2,testing\n"
    expected = [Entry("a.png", "a", "P1", "train"), Entry("b.png", "b", "P2", "test")]
    assert read_split_file(save(tmp_path / "l.csv", text)) == expected
    rows = [
        {"Path": "a.png", "Label": "a", head: "P1", "Split": "train"},
        {"Path": "b.png", "Label": "b", head: "P2", "Split": "test"},
    ]
    assert read_split_file(save(tmp_path / "l.json", json.dumps(rows))) == expected
    lines = "\n".join(map(json.dumps, rows))
    assert read_split_file(save(tmp_path / "l.jsonl", lines)) == expected


def test_a_woman_comes_before_her_slides(tmp_path):
    for head in ("slide,pid", "pid,slide", "specimen,Fall-Nr", "slide_id,MRN"):
        cells = "S1,P1" if head.startswith(("slide", "specimen")) else "P1,S1"
        text = f"path,label,{head}\na.png,a,{cells}\n"
        assert read_list_file(save(tmp_path / "l.csv", text))[0].patient == "P1", head


def test_a_patient_whose_number_a_table_wrote_as_a_fraction(tmp_path):
    """7 and 7.0 were two patients, in two parts."""
    rows = [{"path": "a.png", "label": "a", "patient": 7}]
    rows += [{"path": "b.png", "label": "a", "patient": 7.0}]
    entries = read_list_file(save(tmp_path / "l.json", json.dumps(rows)))
    assert [entry.patient for entry in entries] == ["7", "7"]


def test_columns_that_are_not_used_are_named(tmp_path):
    text = "path,label,age,phase\na.png,a,30,arterial\n"
    entries = read_list_file(save(tmp_path / "l.csv", text))
    assert entries == [Entry("a.png", "a")]
    assert entries.notes == ["columns that are not used: age, phase"]
    assert entries.unused == ["age", "phase"]


@pytest.mark.parametrize("spelling", ["a ", "a\xa0", '"a"'])
def test_cells_are_stripped(tmp_path, spelling):
    """Fault 11."""
    assert read_list_file(save(tmp_path / "l.csv", f"path,label\nx.png,{spelling}\n")) == [
        Entry("x.png", "a")
    ]


def test_the_column_of_names_wins_over_that_of_numbers(tmp_path):
    """Fault 22; and 0.0 is the label 0."""
    text = "path,class,label\na.png,0,benign\nb.png,1,malignant\n"
    entries = read_list_file(save(tmp_path / "l.csv", text))
    assert [e.classname for e in entries] == ["benign", "malignant"]
    text = "path,label\na.png,0\nb.png,0.0\nc.png,1.0\n"
    assert [e.classname for e in read_list_file(save(tmp_path / "m.csv", text))] == ["0", "0", "1"]


def test_parts_of_unknown_names_are_refused_and_usual_ones_understood(tmp_path):
    """Fault 3: an unknown part was dropped and another test set made up."""
    parts = {"train": ["a/0.png"], "val": [], "testing": ["b/0.png"]}
    entries = read_split_file(save(tmp_path / "s.json", json.dumps(parts)))
    assert [e.part for e in entries] == ["train", "test"]
    for odd in (["c/0.png"], [["c/0.png", 0, "c"]], [{"path": "c/0.png"}], {"c": ["c/0.png"]}):
        text = json.dumps({**parts, "second reader": odd})
        with pytest.raises(UserError, match='a part "second reader" with 1 entries'):
            read_split_file(save(tmp_path / "s.json", text))
    about = {"classes": ["a", "b"], "ratio": [0.5, 0.1, 0.4], "by": "patient", "seed": 1}
    assert len(read_split_file(save(tmp_path / "s.json", json.dumps({**about, **parts})))) == 2


@pytest.mark.parametrize("head", ["usage", "group", "Einteilung", "subset", "数据集"])
def test_a_column_is_the_split_where_all_its_words_are_parts(tmp_path, head):
    """Under other names the file's split was dropped and one made by ratio."""
    text = f"path,label,{head}\na.png,a,Training\nb.png,a,Validierung\nc.png,a,测试集\n"
    entries = read_split_file(save(tmp_path / "l.csv", text))
    assert [entry.part for entry in entries] == ["train", "val", "test"]
    assert entries.notes == [f"the column {head} gives the split"] * (head != "subset")
    text = text.replace("测试集", "extra")
    with pytest.raises(UserError, match=f'"{head}" looks like a split, and "extra" is none of'):
        read_list_file(save(tmp_path / "m.csv", text))


@pytest.mark.parametrize("head", ["partition", "Split"])
def test_numbers_in_the_column_of_the_split_are_refused(tmp_path, head):
    text = f"path,label,{head}\na.png,a,0\nb.png,a,1\nc.png,a,2\n"
    with pytest.raises(UserError, match='puts a.png into "0"; the parts are train, val, test'):
        read_split_file(save(tmp_path / "l.csv", text))


def test_a_name_that_begins_as_a_comment_is_not_left_out(tmp_path):
    text = "path,label\n# bad ones\n#1.png,a\nb.png,a\n"
    with pytest.raises(UserError, match='line 3 begins with "#" and names an image; write ./#'):
        read_list_file(save(tmp_path / "l.csv", text))
    entries = read_list_file(save(tmp_path / "l.csv", text.replace("#1", "./#1")))
    assert [entry.path for entry in entries] == ["./#1.png", "b.png"]


def test_two_columns_of_numbers_that_disagree(tmp_path):
    text = "path,label,target\na.png,0,{}\nb.png,1,0\n"
    assert read_list_file(save(tmp_path / "l.csv", text.format("0").replace("1,0", "1,1.0")))
    with pytest.raises(UserError, match='"label" and "target" give two classes'):
        read_list_file(save(tmp_path / "l.csv", text.format("1")))


def test_a_label_that_stands_for_two_names_is_refused(tmp_path):
    parts = {"train": [["a/0.png", 0, "a"], ["b/0.png", 1, "b"]], "test": [["b/1.png", 0, "b"]]}
    with pytest.raises(UserError, match=r'the label 0 to "a" \(a/0.png\) and to "b" \(b/1.png\)'):
        read_split_file(save(tmp_path / "s.json", json.dumps(parts)))
    parts["test"][0][1] = 1
    assert len(read_split_file(save(tmp_path / "s.json", json.dumps(parts)))) == 3


def test_a_class_above_its_images_and_beside_them(tmp_path):
    parts = {"train": {"a": [["x.png", 0, "z"]]}, "test": {"a": ["y.png"]}}
    with pytest.raises(UserError, match='train has x.png below "a" and calls it "z"'):
        read_split_file(save(tmp_path / "s.json", json.dumps(parts)))
    numbers = {"classes": ["a", "b"], "train": {"1": ["x.png"]}, "test": {"0": ["y.png"]}}
    entries = read_split_file(save(tmp_path / "s.json", json.dumps(numbers)))
    assert [entry.classname for entry in entries] == ["b", "a"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_encodings_that_begin_without_a_mark(tmp_path, encoding):
    assert read_list_file(save(tmp_path / "l.csv", table(), encoding)) == WANTED


def test_a_head_that_stands_twice_is_refused(tmp_path):
    file = save(tmp_path / "l.csv", "path,label,label\na.png,x,y\n")
    with pytest.raises(UserError, match='has the column "label" twice'):
        read_list_file(file)
    unnamed = save(tmp_path / "u.csv", "path,label,,\na/0.png,a,,\nb/0.png,b,,\n")
    found = read_list_file(unnamed)
    assert found == WANTED and found.notes == []


def test_one_column_for_each_class(tmp_path):
    file = save(tmp_path / "l.csv", "image,NILM,HSIL,age\na.png,1.0,0.0,30\nb.png,0.0,1.0,41\n")
    found = read_list_file(file)
    assert found == [Entry("a.png", "NILM"), Entry("b.png", "HSIL")]
    assert "classes are the columns NILM, HSIL" in found.notes[0] and "age" in found.notes[1]
    several = save(tmp_path / "m.csv", "image,NILM,HSIL\na.png,1,1\nb.png,0,1\n")
    assert [entry.classname for entry in read_list_file(several)] == ["", ""]


@pytest.mark.parametrize(
    ("head", "first", "other"),
    [("is_train", "train", "test"), ("IsTest", "test", "train"), ("training", "train", "test")],
)
def test_a_column_that_says_yes_or_no_of_a_part(tmp_path, head, first, other):
    for yes, no in (("True", "False"), ("1", "0"), ("yes", "no")):
        file = save(tmp_path / "l.csv", f"path,label,{head}\na.png,a,{yes}\nb.png,b,{no}\n")
        assert [entry.part for entry in read_list_file(file)] == [first, other]
    file = save(tmp_path / "l.csv", f"path,label,{head}\na.png,a,3\nb.png,b,1\n")
    found = read_list_file(file)
    assert [entry.part for entry in found] == ["", ""] and head in found.notes[0]


def test_a_folder_in_a_column_of_its_own(tmp_path):
    file = save(tmp_path / "l.csv", "Folder,filename,label\nx\\y,1.png,a\n,2.png,b\n")
    found = read_list_file(file)
    assert found == [Entry("x/y/1.png", "a", alone="1.png"), Entry("2.png", "b")]


def test_a_json_file_of_images_and_labels_and_one_of_something_else(tmp_path):
    file = save(tmp_path / "l.json", json.dumps({"a/0.png": "a", "b/0.png": 1}))
    assert read_list_file(file) == [Entry("a/0.png", "a"), Entry("b/0.png", "1")]
    many = save(tmp_path / "m.json", json.dumps({f"k{i}": [] for i in range(50)}))
    with pytest.raises(UserError, match="it has k0, k1, .* and 44 more"):
        read_list_file(many)
    coco = save(tmp_path / "c.json", json.dumps({"images": [], "annotations": []}))
    with pytest.raises(UserError, match="looks like COCO's form"):
        read_list_file(coco)


def test_two_words_for_one_part_are_not_joined_in_silence(tmp_path):
    parts = {"train": ["a.png"], "test": ["b.png"], "val": ["c.png"], "dev": []}
    assert len(read_split_file(save(tmp_path / "s.json", json.dumps(parts)))) == 3
    parts |= {"dev": ["e.png"]}
    with pytest.raises(UserError, match='"dev" and "val" both mean val'):
        read_split_file(save(tmp_path / "s.json", json.dumps(parts)))
    text = "path,label,split\na.png,a,Train\nb.png,a,train \nc.png,a,test\n"
    assert len(read_split_file(save(tmp_path / "l.csv", text))) == 3
    with pytest.raises(UserError, match='"test" and "tst" both mean test'):
        read_split_file(save(tmp_path / "m.csv", text + "d.png,a,tst\n"))


def test_columns_whose_names_are_one_are_refused_where_they_disagree(tmp_path):
    text = "path,label,Patient,Patient #\na.png,a,P1,{}\nb.png,a,,P2\n"
    entries = read_list_file(save(tmp_path / "l.csv", text.format("P1")))
    assert entries[0].patient == "P1"
    with pytest.raises(UserError, match='line 2: the columns "Patient" and "Patient #" mean the'):
        read_list_file(save(tmp_path / "l.csv", text.format("7")))
