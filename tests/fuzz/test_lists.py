"""Split JSON, CSV lists, pickles and description files: what they say, or one line."""

from __future__ import annotations

import csv
import io
import json
import pickle
from pathlib import Path

import pytest
from fuzz.bounds import examples, refused_or
from fuzz.mutations import ODD_VALUES, broken, json_texts, mutated, yaml_texts
from hypothesis import given
from hypothesis import strategies as st

from cerviclip.data.split.files import place_entries, read_split_file
from cerviclip.data.split.patient_grouped import PARTS, Item
from cerviclip.data.texts.descriptions import load_descriptions
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from dassl.errors import UserError
from helpers import write_images

CLASSES = ("lesion", "normal")
HEAD = ("path", "label", "split", "patient")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """``cells`` with 12 images of six patients, two images each."""
    from cerviclip.plugins import ensure_loaded

    ensure_loaded("dataset", "FolderDataset")
    root = tmp_path_factory.mktemp("data")
    write_images(root / "cells", dict.fromkeys(CLASSES, 6), size=8, patients=3)
    return root


def rows_of(data: Path) -> list[dict[str, str]]:
    """A row for each image; the patients of a class go to train, val and test."""
    found = []
    for name in CLASSES:
        for path in sorted((data / "cells" / name).glob("*.png")):
            patient = path.name.split("_")[2]
            part = PARTS[int(patient[1:]) % 3]
            found.append({"path": f"{name}/{path.name}", "label": name, "split": part,
                          "patient": patient})  # fmt: skip
    return found


def cfg_of(data: Path, **options: object):
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.FOLDER = "FolderDataset", str(data), "cells"
    cfg.DATASET.NUM_SHOTS, cfg.VERBOSE = -1, False
    for key, value in options.items():
        cfg.DATASET[key] = value
    return cfg


def as_csv(rows: list[list[str]], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue().encode("utf-8", "surrogatepass")


def tables(rows: list[dict[str, str]]) -> st.SearchStrategy[bytes]:
    """CSV files with odd cells, rows and columns; or broken as text."""
    plain = [list(HEAD), *([row[name] for name in HEAD] for row in rows)]
    words = st.sampled_from([str(value)[:200] for value in ODD_VALUES])
    edit = st.tuples(
        st.sampled_from(("cell", "cell", "cell", "short", "long", "twice", "drop", "column")),
        st.integers(0, 10**6),
        words,
    )

    def apply(edits: list[tuple[str, int, str]], delimiter: str) -> bytes:
        table = [list(row) for row in plain]
        for how, at, word in edits:
            if not table:
                break
            i, j = at % len(table), at // 7 % max(1, len(table[at % len(table)]))
            if how == "cell" and table[i]:
                table[i][j] = word
            elif how == "short":
                del table[i][j:]
            elif how == "long":
                table[i].append(word)
            elif how == "twice":
                table.append(table[i])
            elif how == "drop":
                del table[i]
            elif how == "column":
                for n, row in enumerate(table):
                    row.insert(min(j, len(row)), word if n else HEAD[at % 4])
        return as_csv(table, delimiter)

    built = st.builds(apply, st.lists(edit, min_size=1, max_size=3), st.sampled_from(",;\t|"))
    oddities = [
        *(
            b"",
            b"\n\n",
            b"path\n",
            b"path,label\n",
            b"sep=\n",
            b'sep="\npath',
            b"sep=ab\npath,label",
        ),
        *(
            b"\xff\xfe\x00",
            b"\x00" * 50,
            b'path,label\n"a',
            b"path,label\n" + b"x" * 200_000 + b",a",
        ),
        as_csv(plain).decode().encode("utf-16"),
    ]
    return st.one_of(built, built, broken(as_csv(plain)), st.sampled_from(oddities))


def assert_honest(dataset, data: Path) -> None:
    """No patient of the rows in two parts, no image twice, each under the class of its folder."""
    seen: dict[str, str] = {}
    for part, items in dataset.full_split.items():
        for item in items:
            assert item.path not in seen, "an image is in two parts"
            seen[item.path] = part
    patients: dict[str, set[str]] = {}
    for path, part in seen.items():
        patients.setdefault(path.split("_")[2], set()).add(part)
    if dataset.patients_known:
        told = {i.patient for items in dataset.full_split.values() for i in items}
        if told == set(patients):
            assert all(len(parts) == 1 for parts in patients.values()), "a patient is in two parts"
    assert all((data / "cells" / path).is_file() for path in seen)


def test_a_csv_list_gives_an_honest_data_set_or_a_line(size, data):
    file = data / "cells" / "odd.csv"
    cfg = cfg_of(data, FILE="odd.csv")

    @examples(size, 60, 250)
    @given(tables(rows_of(data)))
    def check(content):
        file.write_bytes(content)
        dataset = refused_or(lambda: build_dataset(cfg))
        if dataset is not None:
            assert_honest(dataset, data)

    check()
    file.unlink()


def test_a_split_file_gives_an_honest_split_or_a_line(size, data):
    rows = rows_of(data)
    forms = [
        {p: [{k: r[k] for k in ("path", "label", "patient")} for r in rows if r["split"] == p]
         for p in PARTS} | {"classes": list(CLASSES)},
        {p: [[r["path"], CLASSES.index(r["label"]), r["label"]] for r in rows if r["split"] == p]
         for p in PARTS},
        {p: {c: [r["path"] for r in rows if (r["split"], r["label"]) == (p, c)] for c in CLASSES}
         for p in PARTS},
        {p: [[r["path"], CLASSES.index(r["label"])] for r in rows if r["split"] == p]
         for p in PARTS} | {"classes": list(CLASSES)},
        [r | {"split": r["split"]} for r in rows],
    ]  # fmt: skip
    file = data / "odd.json"
    cfg = cfg_of(data, SPLIT_FILE=str(file), PATIENT_PATTERN=r"(P\d{7})")

    @examples(size, 60, 250)
    @given(st.one_of([json_texts(form) for form in forms]))
    def check(content):
        file.write_bytes(content)
        dataset = refused_or(lambda: build_dataset(cfg))
        if dataset is not None:
            assert_honest(dataset, data)

    check()


def test_a_few_shot_pickle_is_read_or_refused(size, data):
    items = [
        Item(r["path"], CLASSES.index(r["label"]), r["label"], r["patient"]) for r in rows_of(data)
    ]
    file = data / "odd.pkl"
    document = {"train": [], "val": []}
    oddities = [pickle.dumps(value) for value in (document, {"train": 5}, [], {"train": [1]}, 7)]

    @examples(size, 40, 150)
    @given(st.one_of([broken(content) for content in oddities] + [st.sampled_from(oddities)]))
    def check(content):
        file.write_bytes(content)
        entries = refused_or(lambda: read_split_file(file))
        if entries is not None:
            refused_or(lambda: place_entries(entries, items, "odd", data, data / "cells"))

    check()


def test_a_description_file_describes_each_class_or_gives_a_line(size, tmp_path):
    document = {
        "long": {"lesion": ["cells that look odd", "dark nuclei"], "normal": ["flat cells"]},
        "short": {"lesion": "odd", "normal": "flat"},
    }
    files = {".yaml": yaml_texts(document), ".json": json_texts(document)}
    contents = st.one_of([st.tuples(st.just(end), texts) for end, texts in files.items()])

    @examples(size, 100, 300)
    @given(contents)
    def check(found):
        end, content = found
        file = tmp_path / f"odd{end}"
        file.write_bytes(content)
        sets = refused_or(lambda: load_descriptions(str(file), CLASSES))
        for texts in (sets or {}).values():
            assert set(texts) == set(CLASSES)
            assert all(isinstance(t, str) and t.strip() for of in texts.values() for t in of)

    check()


def test_a_record_of_a_draw_is_repeated_or_refused(size, data):
    from cerviclip.data.split.output import write_json

    whole = build_dataset(cfg_of(data, PATIENT_PATTERN=r"(P\d{7})", NUM_SHOTS=2))
    sound = json.loads(Path(write_json(whole, data / "record.json")).read_text())
    file = data / "odd_record.json"
    cfg = cfg_of(data, DRAW_FILE=str(file), PATIENT_PATTERN=r"(P\d{7})")

    @examples(size, 60, 200)
    @given(st.one_of(json_texts(sound), mutated(sound).map(lambda v: json.dumps(v).encode())))
    def check(content):
        file.write_bytes(content)
        dataset = refused_or(lambda: build_dataset(cfg))
        if dataset is not None:
            assert_honest(dataset, data)
            assert dataset.draw_hash == json.loads(content)["draw_hash"]

    check()


@pytest.mark.parametrize(
    "text, told",
    [
        ("path,label\nlesion/a.png,\n", "no label"),
        ("path,label,label\nx,lesion,normal\n", "twice"),
        ('{"train": [["x.png", 9]], "val": [], "test": [], "classes": ["a", "b"]}', "label is 9"),
        ('{"train": [], "train": [], "test": []}', "twice"),
        ('{"train": [], "test": [], "classes": "ab"}', "classes"),
        ('[{"path": "x.png", "label": {"a": 1}, "split": "train"}]', "one text"),
        ('{"train": NaN}', "NaN"),
    ],
)
def test_what_lists_must_not_say(data, text, told):
    file = data / "cells" / ("odd.csv" if text.startswith("path") else "odd.json")
    file.write_text(text.replace("a.png", next((data / "cells/lesion").glob("*.png")).name))
    key = "FILE" if text.startswith("path") else "SPLIT_FILE"
    with pytest.raises(UserError, match=told):
        build_dataset(cfg_of(data, **{key: str(file)}))
    file.unlink()
