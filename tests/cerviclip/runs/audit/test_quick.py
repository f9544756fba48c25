"""The quick audit: what results.json files and tables tell, and changes behind a file's back."""

import json
import os

import pytest
from audit_fixtures import write_honest, write_run, write_tables

import tools.audit as command
from cerviclip.runs.audit.run import audit, audit_results
from cerviclip.runs.settings.folders import find_results


@pytest.fixture
def output(tmp_path):
    return write_honest(tmp_path)


def kinds(report):
    return sorted(finding.kind for finding in report.findings)


def change(path, **facts):
    path.write_text(json.dumps(json.loads(path.read_text()) | facts, indent=1) + "\n")


def test_an_honest_folder_passes(output):
    report = audit_results(output)
    assert (report.runs, report.done, kinds(report)) == (3, 3, [])
    assert report.record()["quick"] is True


def test_planted_faults_are_named(output, tmp_path):
    first, second, third = find_results(output)
    change(first, seed=7)
    change(second, error="it broke", test_read_early=True)
    third.write_text("{")
    found = kinds(audit_results(output))
    for kind in ("misplaced", "identity", "read_early", "unreadable", "table"):
        assert kind in found


def test_versions_and_weights_are_compared(output):
    first, *_ = find_results(output)
    runtime = json.loads(first.read_text())["runtime"]
    runtime["versions"] = {**runtime["versions"], "torch": "1.0"}
    change(first, runtime=runtime, weights_sha256="f" * 64)
    assert {"versions", "weights"} <= set(kinds(audit_results(output)))


@pytest.mark.parametrize("how", [audit_results, audit])
def test_a_file_changed_behind_its_size_and_time_is_named(output, how, tmp_path):
    assert "altered" not in kinds(how(output))
    path = next(find_results(output))
    stat, text = path.stat(), path.read_text()
    number = json.loads(text)["centers"]["test"]["accuracy"]["value"]
    new = text.replace(f'"value": {number}', f'"value": {str(number)[:-1]}9', 1)
    assert len(new) == len(text) and new != text
    path.write_text(new)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    report = how(output)
    assert [f.where for f in report.findings if f.kind == "altered"] == [
        str(path.relative_to(output))
    ]
    assert report.faults


def test_the_command_has_the_flag(output, tmp_path, capsys):
    assert command.main([str(output), "--quick", "--json", str(tmp_path / "a.json")]) == 0
    assert "results.json and tables alone" in capsys.readouterr().out
    assert json.loads((tmp_path / "a.json").read_text())["runs"] == 3
    write_run(tmp_path, 9)  # no table has it
    assert command.main([str(output), "--quick"]) == 1


@pytest.mark.parametrize("how", [audit_results, audit])
def test_a_title_is_no_fault_before_and_after_the_tables_have_it(output, how):
    """Also where one run alone has it, or the runs got another one after results.md was written."""

    def titled(paths, title):
        for path in paths:
            runtime = json.loads(path.read_text())["runtime"]
            change(path, runtime=runtime | {"title": title})

    paths = list(find_results(output))
    for some, title in ((paths[:1], "Hospital A"), (paths, "Hospital A"), (paths[1:], "B")):
        titled(some, title)
        assert kinds(how(output)) == []
        write_tables(output)
        assert kinds(how(output)) == []
    titled(paths, "a\nb")
    assert "unreadable" in kinds(how(output))
