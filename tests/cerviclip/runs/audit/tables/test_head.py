"""What results.md says before its first table, and of warnings and failed runs."""

from __future__ import annotations

import re
import time

import pytest
from audit_fixtures import edit_json, results_of, run_folder, write_honest, write_tables

from cerviclip.runs.audit.run import audit
from cerviclip.runs.results_json import write_results
from cerviclip.severity import NOTE

SEEDS = (1, 2, 3)
WARNED = "3 patients are in train and at a centre"


@pytest.fixture
def output(tmp_path):
    return write_honest(tmp_path, SEEDS)


def edit(output, old, new):
    path = output / "results.md"
    before = path.read_text()
    after = re.sub(old, new, before, count=1, flags=re.MULTILINE)
    assert after != before
    path.write_text(after)


def told(output):
    found = audit(output, full=0).findings
    return [(f.kind, f.text) for f in found if f.where == "results.md"]


@pytest.mark.parametrize(
    "old, new, kind, text",
    [
        (r"^- AuditSet;", "- Real Hospital;", "title", "'Real Hospital' is called 'AuditSet'"),
        (r"^- AuditSet;.*\n", "", "not_checked", "it lacks what this version writes: - AuditSet"),
        (r"^3 runs.*\n", "", "table", "it lacks the line 'N runs; backbones: ...'"),
        (r"^3 runs;", "3 runs on 9,000 patients;", "not_checked", "'3 runs on 9,000 patients;"),
        (r"^3 runs;", ", runs;", "not_checked", "not checked: ', runs;"),
        (r"^3 runs;", "9" * 5000 + " runs;", "not_checked", "not checked: '999"),
        (r"^# Sweep$", "# Sweep: best, p < 0.001", "not_checked", "'Sweep: best, p < 0.001'"),
        (r"^# Sweep$", "# Other on AuditSet", "not_checked", "'Other on AuditSet'"),
        (r"^# Sweep$", "# Sweep <b>99.9</b>", "table", "it may be read as a table"),
    ],
)
def test_an_edited_head_is_told(output, old, new, kind, text):
    edit(output, old, new)
    [(found, said)] = told(output)
    assert found == kind and text in said


@pytest.mark.parametrize(
    "title", ["Sweep cells_2", "Method on AuditSet", "12 trainers on AuditSet"]
)
def test_names_that_sweeps_give_are_no_findings(output, title):
    edit(output, r"^# Sweep$", f"# {title}")
    assert told(output) == []


@pytest.mark.parametrize(
    "count",
    [
        "3 of 40 runs",
        "3 of 40 runs, the part that was chosen (--trainers, --seeds)",
        "3 of 40 runs: 2 that were chosen (flags) and 1 made before",
        "3 of 40 runs, where 4 were chosen (--seeds)",
    ],
)
def test_how_many_runs_may_be_said_in_each_way_of_a_sweep(output, count):
    edit(output, "^3 runs", count)
    assert told(output) == []


def test_a_title_with_a_semicolon_parts_nothing(output):
    for seed in SEEDS:
        folder = run_folder(output, seed)
        results = results_of(folder)
        titled = results["runtime"] | {"title": "Study: A; part 2"}
        write_results(folder, results | {"runtime": titled})
    write_tables(output)
    assert told(output) == []
    edit(output, "positive group: lesion", "positive group: none")
    assert "table" in dict(told(output))


def test_a_line_that_takes_no_end_takes_no_time(output):
    edit(output, "^3 runs; backbones: ", "3 runs; backbones: " + "; backbones: " * 20_000)
    start = time.process_time()
    assert told(output)
    assert time.process_time() - start < 20  # it was minutes


def warn(output, seeds=SEEDS):
    for seed in seeds:
        folder = run_folder(output, seed)
        write_results(folder, results_of(folder) | {"warnings": [WARNED]})


def listed(output, *lines):
    path = output / "results.md"
    path.write_text("\n".join([path.read_text(), "## Warnings on the data", "", *lines, ""]))


def test_warnings_that_were_left_out_are_found(output):
    warn(output)
    assert told(output)[0][1].startswith("Warnings on the data: the list of what the runs were")
    listed(output, f"- {WARNED} (3 runs)")
    assert told(output) == []
    edit(output, r"^- 3 patients.*\n", "")
    assert told(output) == [("table", f"Warnings on the data: it lacks '{WARNED}'")]


@pytest.mark.parametrize(
    "line, kind, text",
    [
        (f"- {WARNED} (1 run)", "table", "is said of 1 runs; the runs: 3"),
        (f"- {WARNED}, but it does not matter (3 runs)", "not_checked", "it does not matter"),
        (" | test | Mine | 99.9 |", "table", "it may be read as a table"),
        ("<table><tr><td>Mine</td></tr></table>", "table", "it may be read as a table"),
    ],
)
def test_warnings_in_other_words_are_told(output, line, kind, text):
    warn(output)
    listed(output, line)
    assert [(k, text in t) for k, t in told(output)] == [(kind, True)]


def test_of_many_warnings_some_stand_in_the_results_alone(output):
    warn(output)
    listed(output, "- and 1 more in results.json of the runs")
    assert told(output) == []


def test_the_error_of_a_failed_run_is_its_own(output):
    folder = run_folder(output, 3)
    write_results(folder, results_of(folder) | {"status": "failed", "error": "out of memory"})
    write_tables(output)
    place = folder.relative_to(output).as_posix()
    path = output / "results.md"
    whole = path.read_text()
    for error, kinds in (
        ("out of memory", []),
        ("out of memory (log of its job: slurm-7.out)", []),
        ("nothing of importance", ["not_checked"]),
        ("| test | Mine | 99.9 |", ["table"]),
    ):
        path.write_text(f"{whole}\n## Failed runs\n\n- {place}: {error}\n")
        assert [kind for kind, _ in told(output)] == kinds, error


def test_a_part_on_titles_hides_nothing_else(output):
    edit(output, "^mean ± sd", "runs with different titles: 99.9 % | best; mean ± sd")
    assert "table" in dict(told(output))


def test_a_whole_number_of_hundreds_of_digits_is_a_finding(output):
    def change(content):
        content["groups"][0]["centers"]["test"]["accuracy"]["mean"] = 10**400

    edit_json(output / "summary.json", change)
    assert "table" in {f.kind for f in audit(output, full=0).findings if f.severity != NOTE}
