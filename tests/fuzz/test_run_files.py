"""The other files of a run, and the tables that people write about runs: read, or one line."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import struct

import numpy as np
import pytest
from audit_fixtures import run_folder
from fuzz.bounds import call, examples, refused_or
from fuzz.mutations import WORDS, broken, json_texts, yaml_texts
from hypothesis import given
from hypothesis import strategies as st

from cerviclip.app.class_info import read_class_info
from cerviclip.data.files.csv_rows import read_rows
from cerviclip.data.roi.store import StoredRoi
from cerviclip.engine.task import Task
from cerviclip.features.shards import MAGIC, DamagedShardError, open_shard
from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.cluster.journal import Journal
from cerviclip.runs.cluster.submissions import FOLDER, read_submissions
from cerviclip.runs.predictions import read_predictions
from cerviclip.runs.results_json import read_results
from cerviclip.vlm.files.beside import stated_beside
from dassl.errors import UserError

NUMBERS = ("nan", "inf", "-0.2", "1.7", "140", "", "x", "0.5", "1e400", "0,5", "1_0")


def table_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode())))


def edited(content: bytes, cells: tuple[str, ...]) -> st.SearchStrategy[bytes]:
    """A CSV file with a few odd cells, lines or columns."""
    rows = table_of(content)
    edit = st.tuples(
        st.sampled_from(("cell", "cell", "cell", "twice", "drop", "short", "swap", "head")),
        st.integers(0, 10**6),
        st.sampled_from((*cells, *(word[:100] for word in WORDS))),
    )

    def apply(edits: list[tuple[str, int, str]]) -> bytes:
        table = [list(row) for row in rows]
        for how, at, word in edits:
            i = at % len(table)
            j = at // 31 % max(1, len(table[i]))
            if how == "cell" and table[i]:
                table[i][j] = word
            elif how == "twice":
                table.append(table[i])
            elif how == "drop" and len(table) > 1:
                del table[i]
            elif how == "short":
                del table[i][j:]
            elif how == "swap" and len(table[i]) > 1:
                table[i][j], table[i][j - 1] = table[i][j - 1], table[i][j]
            elif how == "head" and table[0]:
                table[0][at % len(table[0])] = word
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(table)
        return out.getvalue().encode("utf-8", "surrogatepass")

    built = st.lists(edit, min_size=1, max_size=3).map(apply)
    return st.one_of(built, built, built, broken(content))


def test_predictions_are_probabilities_or_a_line(size, runs):
    path = run_folder(runs, 2) / "predictions.csv"
    whole = path.read_bytes()

    @examples(size, 150, 400)
    @given(edited(whole, NUMBERS))
    def check(content):
        path.write_bytes(content)
        for found in refused_or(lambda: read_predictions(path)) or ():
            assert np.isfinite(found.probs).all() and (found.probs >= 0).all()
            assert np.allclose(found.probs.sum(axis=1), 1, atol=2e-3)
            assert (found.labels < len(found.classnames)).all() and len(found) == len(found.paths)

    check()


@pytest.mark.parametrize(
    "edit, told",
    [
        (lambda t: t[1].__setitem__(5, "nan"), "probabilities"),
        (lambda t: t[1].__setitem__(5, "140.0"), "probabilities"),
        (lambda t: t[0].__setitem__(6, t[0][5]), "two columns"),
        (lambda t: t[1].__setitem__(3, ""), "predictions"),
        (lambda t: [row.__delitem__(slice(5, None)) for row in t], "columns"),
    ],
)  # fmt: skip
def test_predictions_that_cannot_be_are_refused(runs, edit, told):
    path = run_folder(runs, 2) / "predictions.csv"
    table = table_of(path.read_bytes())
    edit(table)
    path.write_text("".join(",".join(row) + "\n" for row in table))
    with pytest.raises(UserError, match=told):
        read_predictions(path)


FILES = {
    "split.json": json_texts,
    "task.json": json_texts,
    "summary.json": json_texts,
    "config.yaml": yaml_texts,
}


@pytest.mark.parametrize("name", FILES)
def test_an_audit_and_a_report_of_a_run_with_an_odd_file_end(size, runs, name):
    import yaml

    folder = run_folder(runs, 2)
    path = (runs if name == "summary.json" else folder) / name
    text = path.read_text()
    document = yaml.safe_load(text) if name.endswith("yaml") else json.loads(text)
    commands = [
        ["audit", str(runs), "--full", "0"],
        ["split", "--publish", str(runs), str(runs.parent / "published")],
        ["report", str(runs), "--out", str(runs.parent / "draft.md")],
    ][: 2 if size == "few" else 3]

    @examples(size, 3, 30)
    @given(FILES[name](document), st.sampled_from(commands))
    def check(content, command):
        shutil.rmtree(runs.parent / "published", ignore_errors=True)
        path.write_bytes(content)
        call(command)

    check()


@pytest.mark.parametrize("name", ["results.json", *FILES])
def test_an_audit_of_a_file_that_is_nested_without_end_says_so(runs, name):
    path = (runs if name == "summary.json" else run_folder(runs, 2)) / name
    for content in (b"[" * 100_000, b'{"a":' * 100_000):
        path.write_bytes(content)
        assert call(["audit", str(runs), "--full", "0"]).status in (1, 2)


def test_notes_that_are_nested_without_end_are_no_notes(tmp_path):
    nested = "[" * 100_000
    for name, read in {
        "config.json": lambda: stated_beside(tmp_path / "model.safetensors"),
        FOLDER / "1" / "submission.json": lambda: list(read_submissions(tmp_path)),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(nested)
        assert read() == []
    (tmp_path / "events").write_text(nested + "\n")
    assert Journal(tmp_path / "events").events() == []
    assert StoredRoi.loads(f"{hashlib.sha256(nested.encode()).hexdigest()[:16]} {nested}") is None
    shard = tmp_path / "x.shard"
    shard.write_bytes(MAGIC + struct.pack("<I", len(nested)) + nested.encode())
    with pytest.raises(DamagedShardError, match="nested"):
        open_shard(shard)
    info = tmp_path / "classes.yaml"
    info.write_text(nested)
    with pytest.raises(UserError, match="no yaml file"):
        read_class_info(str(info))


def test_a_task_says_classes_that_can_be_or_gives_a_line(size, runs):
    path = run_folder(runs, 2) / "task.json"
    document = json.loads(Task("Any", ("a", "b"), positive=("a",)).to_json())

    @examples(size, 150, 300)
    @given(json_texts(document))
    def check(content):
        path.write_bytes(content)
        task = refused_or(lambda: Task.load(path.parent))
        if task is not None:
            assert task.classnames and len(set(task.classnames)) == len(task.classnames)
            assert {*task.positive} <= {*task.classnames, *task.all_classnames}

    check()


def test_a_split_record_is_read_or_noted(size, runs):
    folder = run_folder(runs, 2)
    document = json.loads((folder / "split.json").read_text())

    @examples(size, 100, 300)
    @given(json_texts(document))
    def check(content):
        (folder / "split.json").write_bytes(content)
        run = AuditedRun(folder, runs, read_results(folder) or {})
        from cerviclip.runs.audit import identity, splits

        for one in (splits.check_split_hash, splits.check_leaks, splits.check_predicted_images,
                    identity.check_identity):  # fmt: skip
            refused_or(lambda one=one: one(run))

    check()


def readers_of(runs) -> list[list[str]]:
    rows = table_of((run_folder(runs, 1) / "predictions.csv").read_bytes())[1:]
    lines = [[row[1], f"reader {n}", row[3], "0.5"] for n in (1, 2) for row in rows]
    return [["path", "reader", "label", "score"], *lines]


@pytest.mark.parametrize("flag", ["--readers", "--subgroups"])
def test_a_reader_study_and_subgroups_are_compared_or_give_a_line(size, runs, flag):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(readers_of(runs))
    path = runs.parent / "people.csv"
    value = str(path) if flag == "--readers" else f"{path}:label"

    @examples(size, 4, 50)
    @given(edited(out.getvalue().encode(), (*NUMBERS, "positive", "lesion", "7")))
    def check(content):
        path.write_bytes(content)
        call(["compare", str(runs), "--against", "Method", flag, value])

    check()


def test_a_csv_file_has_a_cell_for_each_column_or_gives_a_line(size, tmp_path):
    path = tmp_path / "odd.csv"

    @examples(size, 100, 200)
    @given(edited(b"path,group\na.png,x\nb.png,y\n", ("x", "y")))
    def check(content):
        path.write_bytes(content)
        found = refused_or(lambda: read_rows(path))
        if found is not None:
            head, rows = found
            assert len(set(head)) == len(head) and all(set(row) == set(head) for _, row in rows)

    check()
