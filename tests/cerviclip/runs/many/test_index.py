"""Slim results and their index: equal to the whole files, and never trusted over them."""

import json
import os
import shutil
import sqlite3

import pandas
import pytest
from audit_fixtures import DATASET, write_honest

from cerviclip.runs.many import index as index_module
from cerviclip.runs.many import slim
from cerviclip.runs.many.index import Index
from cerviclip.runs.many.load import table_runs
from cerviclip.runs.many.slim import HEAVY, slim_results, thin, without_keys
from cerviclip.runs.many.tidy import read_results as tidy_results
from cerviclip.runs.many.tidy import run_rows
from cerviclip.runs.report.formats import summary, to_csv
from cerviclip.runs.report.groups import METRICS, group_runs, load_runs
from cerviclip.runs.report.tables import build_tables
from cerviclip.runs.results_json import KEYS, read_results
from cerviclip.runs.settings.folders import find_results
from dassl.errors import UserError


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return write_honest(tmp_path_factory.mktemp("honest"))


@pytest.fixture
def output(honest, tmp_path):
    return shutil.copytree(honest, tmp_path / "output")


@pytest.fixture
def first(output):
    return next(find_results(output))


def edit(path, change, keep_times=True):
    """Change a file's results, in the same number of bytes and with its old times."""
    stat, old = path.stat(), path.read_text()
    new = change(old)
    assert new != old and len(new) == len(old)
    path.write_text(new)
    if keep_times:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def low(results):
    return results["centers"]["test"]["accuracy"]["low"]


def worse(text):
    """The last digit of an interval's limit, which no other number of the file shows."""
    number = json.dumps(low(json.loads(text)))
    digit = "1" if number[-1] != "1" else "2"
    return text.replace(f'"low": {number}', f'"low": {number[:-1]}{digit}', 1)


def test_a_file_is_read_without_its_heavy_keys_and_else_as_it_is(first):
    raw, whole = first.read_bytes(), read_results(first)
    cut = json.loads(without_keys(raw, HEAVY))
    given = json.loads(raw)
    assert {k for k in given if cut[k] != given[k]} == {
        k for k in HEAVY if given.get(k) is not None
    }
    assert len(without_keys(raw, HEAVY)) < len(raw) / 3
    assert slim_results(raw, first) == json.loads(json.dumps(thin(whole)))


@pytest.mark.parametrize("indent", [None, 0, 2, 4, "\t"])
def test_other_layouts_are_parsed_whole(first, indent):
    results = json.loads(first.read_text())
    text = json.dumps(results, indent=indent)
    assert slim_results(text.encode(), first) == slim_results(first.read_bytes(), first)


def test_keys_in_another_order_and_nested_names_cut_nothing_else():
    record = dict.fromkeys(KEYS, None) | {"schema_version": 2, "runtime": {}, "centers": {}}
    record["calibration"] = {"calibration": [1], "flow": '\n "status": 5'}
    for order in (KEYS, ("schema_version", *reversed(KEYS[1:]))):
        text = json.dumps({key: record[key] for key in order}, indent=1) + "\n"
        cut = json.loads(without_keys(text.encode(), HEAVY))
        assert cut == record | {"calibration": None}


def test_nested_keys_at_the_margin_are_no_top_level_keys():
    """Somebody may have shifted all lines to one space: then nothing is cut."""
    lines = ["{", '"schema_version": 2,', '"centers": {', '"calibration": {', '"x": 1']
    text = "\n ".join([*lines, "}", "},", '"runtime": {}']) + "\n}"
    assert slim._parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "raw, words",
    [(b"{", "is not a run's results"), (b"[]", "is not"), (b'{"schema_version": 99}', "newer"),
     (b"\xff\xfe", "is not"), (b'{"schema_version": 2}', "lacks the key"), (b"", "is not")],
)  # fmt: skip
def test_what_is_no_results_is_refused_by_name(raw, words):
    with pytest.raises(UserError, match=words) as error:
        slim_results(raw, "a/results.json")
    assert "a/results.json" in str(error.value)


def test_tables_of_slim_runs_are_those_of_whole_ones(output):
    whole, small = load_runs(output), table_runs(output, METRICS)
    assert [run["folder"] for run in small] == [run["folder"] for run in whole]
    groups, thin_groups = group_runs(whole), group_runs(small)
    for metric in METRICS:
        assert build_tables(thin_groups, metric) == build_tables(groups, metric)
    assert to_csv(thin_groups) == to_csv(groups)
    assert summary(thin_groups, small) == summary(groups, whole)
    one = table_runs(output, ["per_class.lesion.f1"])
    assert group_runs(one)[0].stat("test", "per_class.lesion.f1") == groups[0].stat(
        "test", "per_class.lesion.f1"
    )
    kept = ["n_images", "n_patients", "counts", "note", "per_class"]
    assert list(one[0]["centers"]["test"]) == kept


def test_the_long_table_has_the_rows_of_whole_runs(output):
    rows = [row for run in load_runs(output) for row in run_rows(run)]
    table = tidy_results(output)
    wanted = pandas.DataFrame(rows, columns=[*table.columns])
    pandas.testing.assert_frame_equal(table, wanted, check_dtype=False)


def test_a_file_is_parsed_once_and_again_when_it_changes(output, first, monkeypatch):
    parsed = []
    own = index_module.slim_results
    monkeypatch.setattr(index_module, "slim_results", lambda r, p: parsed.append(p) or own(r, p))
    for _ in range(2):
        table_runs(output, ["macro_auc"])
    assert len(parsed) == len(list(find_results(output))) == 3
    before = low(read_results(first))
    edit(first, worse)  # behind its size and time; the time of its inode tells
    with Index(output) as index:
        after = low(next(index.read()).results)
    assert parsed[3:] == [first] and after == low(read_results(first)) != before


def test_a_change_behind_size_and_time_is_noticed_by_content(output, first):
    with Index(output) as index:
        assert not any(found.altered for found in index.check())
    edit(first, worse)
    with Index(output) as index:
        assert [found.path for found in index.check() if found.altered] == [first]
    table_runs(output, ["accuracy"])  # reads it too, and hides nothing
    with Index(output) as index:  # as long as nobody has written it honestly
        assert [found.path for found in index.check() if found.altered] == [first]
    edit(first, worse, keep_times=False)  # an honest change has a time
    with Index(output) as index:
        assert not any(found.altered for found in index.check())


def test_an_index_that_lies_or_is_broken_does_no_harm(output, first):
    wanted = table_runs(output, METRICS)
    with Index(output) as index:
        file = index.file
    assert str(output) not in str(file)
    database = sqlite3.connect(file)
    with database:
        database.execute("UPDATE results SET slim = zeroblob(3)")
    assert table_runs(output, METRICS) == wanted
    with database:  # of other contents, as an audit finds by the files
        (packed,) = database.execute("SELECT slim FROM results").fetchone()
        database.execute("UPDATE results SET slim = ?", (packed,))
    database.close()
    with Index(output) as index:
        found = [found.results["seed"] for found in index.check()]
    assert found == [run["seed"] for run in wanted]
    assert table_runs(output, METRICS) == wanted
    file.write_bytes(b"this is no database" * 500)
    assert table_runs(output, METRICS) == wanted
    assert table_runs(output, METRICS) == wanted
    file.unlink()
    file.mkdir()  # nothing can be kept
    assert table_runs(output, METRICS) == wanted


def test_a_folder_that_moves_or_is_named_otherwise_has_its_own_paths(output, tmp_path, monkeypatch):
    table_runs(output, METRICS)
    monkeypatch.chdir(tmp_path)
    assert table_runs("output", METRICS)[0]["folder"].startswith("output/")
    shutil.rmtree(output / DATASET / "Method")
    with pytest.raises(UserError, match="no results.json below"):
        table_runs(output, METRICS)


def test_runs_are_found_in_order_without_evaluations_and_hidden_folders(tmp_path):
    names = ["b/seed_1", "a/seed_10", "a/seed_2", "a-b/seed_1", "a/seed_2/eval/20260101"]
    names += [".x/seed_1", "a/.seed_2.new-4", "eval/seed_1", "eval"]
    for name in names:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "results.json").touch()
    found = [str(path.parent.relative_to(tmp_path)) for path in find_results(tmp_path)]
    kept = [name for name in names if "eval/" not in name and "." not in name]
    assert found == [str(p) for p in sorted(map(type(tmp_path), kept))]
    assert list(find_results(tmp_path / "eval" / "seed_1")) == [
        tmp_path / "eval" / "seed_1" / "results.json"
    ]


def test_titles_are_known_to_tables_of_very_many_runs(output):
    for path in find_results(output):
        results = json.loads(path.read_text())
        results["runtime"]["title"] = "Cervix OCT"
        path.write_text(json.dumps(results))
    runs = table_runs(output, ["accuracy"])
    assert {run["runtime"]["title"] for run in runs} == {"Cervix OCT"}
    assert build_tables(group_runs(runs), "accuracy")[0].title == "Cervix OCT: accuracy (%)"
