"""An ensemble is told by what it is made of, and never as a run whose training was not recorded."""

import json
import shutil

import pytest

from cerviclip.report.content import build_document
from cerviclip.report.document import Table
from cerviclip.report.sentences.ensembles import ensemble_rows
from cerviclip.report.setup import OLD, training_rows
from cerviclip.report.study import Study
from cerviclip.runs.ensemble import ensembles
from cerviclip.runs.report.groups import load_runs


@pytest.fixture
def joined(runs, tmp_path):
    """A folder with two methods' runs and their ensemble, which is the method in detail."""
    folder = shutil.copytree(runs, tmp_path / "runs")
    other = shutil.copytree(folder / "ZooLinear", folder / "ZooOther")
    results = json.loads((other / "results.json").read_text())
    (other / "results.json").write_text(json.dumps(results | {"trainer": "ZooOther"}))
    (one,) = ensembles(load_runs(folder), "mean", "mean")
    one.write(folder)
    return Study.read(folder, "Ensemble (mean)")


def test_what_it_is_made_of_stands_in_place_of_a_training(joined, tmp_path):
    document = build_document(joined, tmp_path / "figures")
    text = "\n".join(block.words for block in document.blocks)
    assert OLD not in text and "not recorded" not in text
    tables = {b.caption: b for b in document.blocks if isinstance(b, Table)}
    (caption,) = (c for c in tables if c.startswith("Settings that Ensemble"))
    assert "config.yaml" not in caption  # it has none
    rows = {row[0]: row[1] for row in tables[caption].rows}
    assert rows["training"].startswith("none of its own")
    assert "ZooLinear" in rows["made of"] and "ZooOther" in rows["made of"]
    assert "2 shots, seed 1" in rows["made of"]
    assert rows["joined by"] == "the mean of their probabilities"
    (row,) = (r for r in tables["Methods compared."].rows if r[0].startswith("Ensemble"))
    assert row[1].startswith("An ensemble of the runs of") and row[3] == "of its members"
    assert "Ensembles of models: Ensemble (mean)" in text
    assert "the ensemble itself reads no image" in text
    assert "An ensemble names its members' configurations" in text
    device = dict(tables["Software and machine."].rows)["device"]
    assert "-" not in device.split(", ")


def test_no_ensemble_is_said_where_there_is_none(document):
    text = "\n".join(block.words for block in document.blocks)
    assert "No models are combined into an ensemble." in text and "An ensemble names" not in text


def test_a_stacking_says_that_val_fitted_it(joined):
    run = joined.parts[0].run
    run["ensemble"]["how"] = "stacked"
    assert "fitted on val (stacking)" in dict(ensemble_rows(run))["joined by"]
    member = run["ensemble"]["members"][0]
    member["fold"], member["shots"] = "1/3", 0
    assert "fold 1/3" in training_rows(run)[1][1]
