"""Which runs are compared with each other: those of one sweep's tables."""

from __future__ import annotations

import shutil

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
