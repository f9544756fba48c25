"""Which runs are compared with each other: those of one sweep's tables."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from audit_fixtures import edit_json, results_of, run_folder, write_honest, write_run, write_tables

from cerviclip.runs.audit.run import audit, audit_results
from cerviclip.runs.results_json import write_results
from cerviclip.severity import NOTE


@pytest.fixture
def output(tmp_path):
    return write_honest(tmp_path, seeds=(1, 2, 3))


def kinds(output):
    return {f.kind for f in audit(output, full=0).findings if f.severity != NOTE}


def copied_to(output, name):
    """The study again in a folder beside, as of another sweep."""
    shutil.copytree(output, output.parent / name)
    (output / name).mkdir()
    for path in (output.parent / name).iterdir():
        shutil.move(path, output / name / path.name)
    return output / name


@pytest.mark.parametrize("tables", [True, False], ids=["with tables", "without"])
def test_another_sweeps_runs_may_have_other_settings(output, tables):
    """A sensitivity analysis: below the main study, with another split."""
    other = copied_to(output, "sensitivity")
    for seed in (1, 2, 3):
        folder = run_folder(other, seed)
        results = results_of(folder) | {"weights_sha256": "1" * 64}
        write_results(folder, results)
    if not tables:
        for name in ("summary.json", "summary.csv", "results.md"):
            (other / name).unlink()
    assert kinds(output) == (set() if tables else {"same_run", "weights"})


def test_tables_above_another_sweep_are_of_their_own_runs(output):
    """Equal keys there, and other numbers."""
    other = copied_to(output, "a_before_the_data_set")
    for seed in (1, 2, 3):
        folder = run_folder(other, seed)
        shutil.copy(run_folder(output, 4 - seed) / "predictions.csv", folder)
        centers = results_of(run_folder(output, 4 - seed))["centers"]
        write_results(folder, results_of(folder) | {"centers": centers})
    write_tables(other)
    found = {(f.where, f.text) for f in audit(output, full=0).findings if f.kind == "table"}
    assert found == set()


def test_runs_of_one_table_are_compared_wherever_they_lie(output):
    edit_json(run_folder(output, 3) / "results.json", lambda r: r.update(weights_sha256="1" * 64))
    assert "weights" in kinds(output)
    quick = audit_results(output).findings
    assert "weights" in {f.kind for f in quick}


def test_two_studies_with_other_positive_groups_are_not_unlike(tmp_path):
    for name, positive in (("a", ["lesion"]), ("b", ["normal"])):
        out = write_honest(tmp_path / "output" / name, seeds=(1, 2, 3))
        for seed in (1, 2, 3):
            folder = run_folder(out, seed)
            write_results(folder, results_of(folder) | {"positive_classes": positive})
    found = {f.kind for f in audit(tmp_path / "output", full=0).findings}
    assert "unlike" not in found
    edit_json(
        run_folder(tmp_path / "output" / "a" / "output", 3) / "results.json",
        lambda r: r.update(positive_classes=["normal"]),
    )
    assert "unlike" in {f.kind for f in audit(tmp_path / "output", full=0).findings}


def test_a_seed_that_one_sweep_lacks_is_missed_there(tmp_path):
    write_run(tmp_path / "a", 1)
    write_run(tmp_path / "a", 3)
    write_tables(tmp_path / "a" / "output")
    write_run(tmp_path / "b", 2)
    write_tables(tmp_path / "b" / "output")
    texts = [f.text for f in audit(tmp_path, full=0).findings if f.kind == "missing_seed"]
    assert texts == ["Method on AuditSet, shots 2: no finished run of seed 2"]


@pytest.mark.parametrize("name", ["pooled.json", "summary.csv", "results.md"])
def test_a_file_called_as_a_table_hides_no_run(output, name):
    """Runs of one table that differ, and decoys in the folders between."""
    trainer = run_folder(output, 3).parents[3]
    edit_json(run_folder(output, 3) / "results.json", lambda r: r.update(weights_sha256="1" * 64))
    (trainer / name).write_text('{"pooled": []}')
    hidden = run_folder(output, 3).parent / "old"
    hidden.mkdir()
    shutil.move(run_folder(output, 3), hidden / "seed_3")
    (hidden / name).write_text('{"pooled": []}')
    assert "weights" in kinds(output)


def test_the_quick_audit_compares_positive_groups(output):
    edit_json(run_folder(output, 3) / "results.json", lambda r: r.update(positive_classes=["x"]))
    assert "unlike" in {f.kind for f in audit_results(output).findings}


def test_runs_that_stand_in_no_table_are_named(output):
    shutil.copytree(run_folder(output, 1).parents[3], output / "AuditSet" / "Other")
    for path in (output / "AuditSet" / "Other").rglob("results.json"):
        edit_json(path, lambda r: r.update(trainer="Other"))
    found = [f.text for f in audit(output, full=0).findings if f.kind == "unshown"]
    assert found == ["finished runs stand in no table of this folder: Other on AuditSet, shots 2"]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["groups"][0].update(transductive=True),
        lambda content: content["groups"][0].update(ensemble_of=["A", "B"]),
        lambda content: content["failed"].append(
            {**{k: content["groups"][0][k] for k in ("dataset", "backbone", "variant", "shots")},
             "trainer": "Rival", "seed": 1, "error": "it broke"}
        ),
    ],
    ids=["transductive", "ensemble", "failed"],
)  # fmt: skip
def test_what_summary_json_adds_of_its_own_is_found(output, change):
    edit_json(output / "summary.json", change)
    found = [f for f in audit(output, full=0).findings if f.where == "summary.json"]
    assert [f.kind for f in found] == ["table"]


@pytest.mark.parametrize("name", ["summary.json", "summary.csv", "pooled.json", "results.md"])
def test_a_table_that_cannot_be_read_ends_nothing(output, name, monkeypatch):
    (output / name).write_text("x") if not (output / name).exists() else None
    real = Path.read_text

    def read_text(path, *args, **options):
        if path.name == name:
            raise OSError(5, "Input/output error", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
    found = [(f.kind, f.where) for f in audit(output, full=0).findings]
    assert ("unreadable", name) in found


def test_runs_with_another_title_since_are_named_and_not_called_lies(output):
    for seed in (1, 2, 3):
        folder = run_folder(output, seed)
        results = results_of(folder)
        write_results(folder, results | {"runtime": results["runtime"] | {"title": "Clinic A"}})
    write_tables(output)
    assert kinds(output) == set()
    for seed in (1, 2, 3):
        folder = run_folder(output, seed)
        results = results_of(folder)
        write_results(folder, results | {"runtime": results["runtime"] | {"title": "Clinic B"}})
    found = [f for f in audit(output, full=0).findings if f.severity != NOTE]
    assert [f.kind for f in found] == ["title"]
    assert found[0].text == "'Clinic A' is called 'Clinic B' by its runs (and 11 more)"


@pytest.mark.parametrize("name", ["results.md", "summary.json", "summary.csv"])
def test_a_table_in_a_folder_without_runs_is_found(output, name):
    """Unless it is a copy of the sweep's own."""
    paper = output / "paper"
    paper.mkdir()
    shutil.copy(output / name, paper)
    assert kinds(output) == set()
    text = (paper / name).read_text()
    (paper / name).write_text(text.replace("shots", "Shots") + "\n")
    if name == "summary.csv":
        (paper / name).write_text(text + "\n")
    found = [f for f in audit(output, full=0).findings if f.severity != NOTE]
    assert [(f.kind, f.where) for f in found] == [("table", f"paper/{name}")]


def test_somebodys_own_results_md_is_no_table_of_ours(output):
    (output / "notes").mkdir()
    (output / "notes" / "results.md").write_text("# Mine\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    assert kinds(output) == set()


def test_texts_that_no_check_reads_are_named(output):
    (output / "active.md").write_text("| margin | 99.9 |")
    run_folder(output, 1).joinpath("notes.md").write_text("of the run")
    found = [f.text for f in audit(output, full=0).findings if f.kind == "not_checked"]
    assert found == ["tables and texts that are not read: active.md"]


@pytest.mark.parametrize("name", ["summary.json", "summary.csv", "pooled.json", "results.md"])
def test_a_table_that_is_no_file_is_named(output, name):
    (output / name).unlink(missing_ok=True)
    (output / name).mkdir()
    found = [(f.kind, f.where) for f in audit(output, full=0).findings if f.severity != NOTE]
    assert ("unreadable", name) in found


def test_an_emptied_summary_is_named(output):
    edit_json(output / "summary.json", lambda content: content.update(groups=[]))
    assert "unshown" in {f.kind for f in audit(output, full=0).findings}


def test_keys_that_no_version_writes_are_named(output):
    def change(content):
        content["best"] = "Method"
        content["groups"][0]["p_value"] = 0.001

    edit_json(output / "summary.json", change)
    texts = [f.text for f in audit(output, full=0).findings if f.kind == "not_checked"]
    assert len(texts) == 2 and "'p_value'" in texts[0] and "'best'" in texts[1]


def test_thousands_of_cells_take_no_time_squared(output):
    from cerviclip.runs.audit.tables.files import _Tables

    tables = _Tables(output, output, [])
    cells = [
        {"dataset": "D", "trainer": f"T{n}", "backbone": "", "variant": "default", "shots": 1}
        for n in range(20_000)
    ]
    from cerviclip.runs.report.groups import Group

    groups = [Group(**cell, folds=0, runs=[]) for cell in cells]
    records = [cell | {"centers": {}} for cell in cells]
    (output / "summary.json").write_text(json.dumps({"groups": records, "failed": []}))
    start = time.process_time()
    tables._check_json(groups)
    assert time.process_time() - start < 20
