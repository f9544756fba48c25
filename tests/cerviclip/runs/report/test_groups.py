"""Runs behind one number: their order, their tables, and what is told where they do not agree."""

from __future__ import annotations

import json

import pytest

from cerviclip.data.split.folds import Fold
from cerviclip.runs.report.groups import (
    check_metric,
    fold_of,
    group_runs,
    harmonic_mean,
    in_tables,
    split_hashes,
    sweep_order,
)
from dassl.errors import UserError


def run(dataset="D", trainer="CoOp", **more):
    return {
        "status": "done", "dataset": dataset, "trainer": trainer, "backbone": "RN50",
        "variant": "default", "shots": 4, "fold": "", "seed": 1, "centers": {},
        "test_read_early": False, "split_hash": "", **more,
    }  # fmt: skip


def test_tables_are_in_the_order_of_the_data_sets_and_transductive_ones_behind():
    runs = [run("Z", "TransCLIP", transductive=True), run("Z"), run("A"), run("Z", "KgCoOp")]
    groups = group_runs(runs, [("TransCLIP", "default"), ("CoOp", "default")])
    found = [(t[0].dataset, t[0].transductive) for t in in_tables(groups)]
    assert found == [("A", False), ("Z", False), ("Z", True)]
    turned = [(t[0].dataset, t[0].transductive) for t in in_tables(groups[::-1])]
    assert turned == [("Z", False), ("Z", True), ("A", False)]


def test_the_order_of_methods_is_the_sweeps(tmp_path):
    assert sweep_order(tmp_path) == []
    groups = [{"trainer": t, "variant": v} for t, v in (("Ü", "b"), ("B", "a"), ("Ü", "b"))]
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"groups": groups}, ensure_ascii=False), encoding="utf-8")
    assert sweep_order(tmp_path) == [("Ü", "b"), ("B", "a")]
    for damaged in ("{", "[]", '{"groups": 3}', '{"groups": [{"trainer": "B"}]}'):
        path.write_text(damaged)
        assert sweep_order(tmp_path) == []


def test_a_plain_split_is_the_only_fold_of_a_whole():
    assert fold_of("") == Fold(1, 1) and fold_of("2/3@4") == Fold(2, 3, 4)


@pytest.mark.parametrize(
    ("base", "new", "mean"), [(80.0, 40.0, 53.333333), (0.0, 0.0, 0.0), (0.0, 50.0, 0.0),
                              (50.0, 50.0, 50.0), (None, 50.0, None), (50.0, None, None)]
)  # fmt: skip
def test_base_and_new_classes_have_a_harmonic_mean(base, new, mean):
    centers = {
        name: {"accuracy": {"value": value}, "ece": {"value": 0.1}}
        for name, value in (("test", base), ("new", new))
    }
    both = run(base_to_new={"base": ["a"], "new": ["b"]}, centers=centers)
    expected = None if mean is None else pytest.approx(mean)
    assert harmonic_mean(both, "accuracy") == expected
    assert harmonic_mean(both, "ece") is None  # less is better
    assert harmonic_mean({**both, "base_to_new": {}}, "accuracy") is None


def test_each_split_of_a_fold_is_told_with_the_first_folder_that_has_it():
    runs = [run(split_hash="x", folder="/one"), run(split_hash="x", folder="/two", seed=2),
            run(split_hash="y", folder="/three", seed=3), run(split_hash="z", seed=4),
            run(fold="1/2", split_hash="u", folder="/four"), run(seed=5)]  # fmt: skip
    found = split_hashes(group_runs(runs))
    assert {"x": "/one", "y": "/three", "z": "?"} in found and {"u": "/four"} in found
    assert len(found) == 2


def test_metrics_of_a_class_may_have_dots_in_its_name():
    for metric in ("accuracy", "binary.auc", "per_class.cyst.f1", "per_class.v1.2.f1"):
        assert check_metric(metric) == metric
    with pytest.raises(UserError, match=r"per_class.*per_class\.<class>\.f1"):
        check_metric("per_class.f1")
