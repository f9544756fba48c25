"""Words beside numbers: those of another version, of a run that knew more, and absent ones."""

import json

import pytest
from audit_fixtures import edit_json, run_folder, write_honest
from run_fixtures import Zoo

from cerviclip import plugins
from cerviclip.runs.audit.run import audit
from cerviclip.runs.results_json import write_results
from cerviclip.runs.run.runner import run_one
from cerviclip.severity import NOTE
from helpers import write_images


def made(folder, ratio):
    """A run on a few patients, split by this ratio, and its results."""
    plugins.reset_plugins()
    zoo = Zoo(folder)
    write_images(zoo.root / "cells", {"a": 18, "b": 18}, patients=6, size=8)
    argv = ("ZooLinear", "2", "--dataset", "FolderDataset", "--output-dir", str(zoo.out / "run"))
    own = {"DATASET__FOLDER": "cells", "DATASET__PATIENT_PATTERN": r"(P\d{7})"}
    own |= {"DATASET__POSITIVE": "('a',)", "DATASET__SPLIT_RATIO": ratio, "TEST__EXTERNAL": "[]"}
    run_one(zoo.cfg(*argv, **own), echo=False)
    plugins.reset_plugins()
    return zoo.out, json.loads((zoo.out / "run" / "results.json").read_text())


def faults(output):
    return [f for f in audit(output, full=None).findings if f.severity != NOTE]


@pytest.fixture
def run(tmp_path):
    return made(tmp_path, "(0.4, 0.3, 0.3)")


def test_a_run_without_val_is_honest(tmp_path):
    """It knew why it has no thresholds; its files tell only that there are no predictions."""
    output, results = made(tmp_path, "(0.5, 0.0, 0.5)")
    assert "no val images" in results["conformal"]["reason"]
    assert faults(output) == []


def test_a_note_in_an_earlier_versions_words_is_honest(run):
    output, results = run
    assert "without the event" in results["calibration"]["note"]
    for block in ("operating_points", "calibration", "conformal"):
        results[block]["note"] = results[block]["note"].replace("without the event", "without it")
    write_results(output / "run", results)
    assert faults(output) == []


@pytest.mark.parametrize("how", ["dropped", "emptied"])
def test_a_note_of_few_patients_that_was_taken_out_is_found(run, how):
    output, results = run
    if how == "dropped":
        del results["calibration"]["note"]
    else:
        results["calibration"]["note"] = ""
    write_results(output / "run", results)
    [found] = faults(output)
    assert found.kind == "blocks" and found.text.startswith("results.json: calibration.note is ")


def test_an_edited_split_accuses_no_other_run(tmp_path):
    """The first of the runs is the edited one: the others are right."""
    output = write_honest(tmp_path, seeds=(1, 2, 3))
    edit_json(run_folder(output, 1) / "split.json", lambda s: s["train"].pop())
    edit_json(run_folder(output, 1) / "results.json", lambda r: r.update(split_hash="0" * 64))
    found = {(f.kind, f.where) for f in audit(output, full=0).findings}
    own = str(run_folder(output, 1).relative_to(output))
    assert ("split_edited", own) in found
    assert {where for kind, where in found if kind == "split_differs"} <= {own}
