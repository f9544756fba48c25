"""Transductive methods and ensembles in tables: never beside others unsaid."""

from __future__ import annotations

import csv
import io

import pytest

from cerviclip.runs.comparison.compare import Request, compare
from cerviclip.runs.many.tidy import long_table
from cerviclip.runs.report.formats import summary, to_csv, to_latex, to_markdown
from cerviclip.runs.report.groups import group_runs
from cerviclip.runs.report.tables import build_tables
from dassl.errors import UserError


def run(trainer: str, accuracy: float, **extra: object) -> dict:
    number = {"value": accuracy, "low": None, "high": None}
    return {
        "schema_version": 2, "status": "done", "error": None, "dataset": "Herlev",
        "trainer": trainer, "backbone": "B", "variant": "default", "shots": 4, "fold": "",
        "seed": 1, "test_read_early": False, "folder": f"runs/{trainer}",
        "centers": {"test": {"accuracy": number, "macro_auc": number}},
    } | extra  # fmt: skip


MEMBERS = [{"trainer": "GDA", "variant": "default", "backbone": "B"},
           {"trainer": "CoOp", "variant": "lr1", "backbone": "B"}]  # fmt: skip
RUNS = [
    run("CoOp", 50.0),
    run("TransCLIP", 90.0, transductive=True),
    run("Ensemble", 60.0, ensemble={"how": "mean", "members": MEMBERS}),
]


def test_a_transductive_method_has_a_table_of_its_own():
    inductive, transductive = build_tables(group_runs(RUNS), "accuracy")
    assert [label for label, _ in inductive.blocks[0][1]] == ["CoOp", "Ensemble"]
    assert [label for label, _ in transductive.blocks[0][1]] == ["TransCLIP"]
    assert "TransCLIP" not in to_markdown(inductive) and "90.0" not in to_latex(inductive)
    assert "transductive methods" in transductive.title
    assert "saw all test images" in to_markdown(transductive)


def test_an_ensemble_names_its_members_below_the_table():
    table = build_tables(group_runs(RUNS), "accuracy")[0]
    assert "Ensemble: an ensemble of GDA [B], CoOp (lr1) [B]" in "; ".join(table.notes)


def test_json_and_csv_say_it_and_are_as_before_where_nothing_is_special():
    groups = group_runs(RUNS)
    marks = {
        g["trainer"]: (g.get("transductive"), g.get("ensemble_of"))
        for g in summary(groups, RUNS)["groups"]
    }
    assert marks["CoOp"] == (None, None) and marks["TransCLIP"] == (True, None)
    assert marks["Ensemble"] == (None, ["GDA [B]", "CoOp (lr1) [B]"])
    rows = list(csv.DictReader(io.StringIO(to_csv(groups))))
    assert {r["trainer"] for r in rows if r["transductive"] == "True"} == {"TransCLIP"}
    assert "transductive" not in to_csv(group_runs(RUNS[:1]))
    assert "transductive" not in long_table(RUNS[:1]).columns
    assert long_table(RUNS).query("transductive == True").trainer.unique() == ["TransCLIP"]


def test_a_transductive_method_is_compared_with_no_inductive_one():
    with pytest.raises(UserError, match="only transductive method"):
        compare(group_runs(RUNS), Request("TransCLIP", ("accuracy",)))
