"""Tables of left-out centres, of base and new classes, of search budgets and repeated folds."""

from __future__ import annotations

import pytest

from cerviclip.runs.report.costs import cost_markdown, search_markdown, search_note
from cerviclip.runs.report.groups import HARMONIC, group_runs
from cerviclip.runs.report.tables import build_tables
from cerviclip.runs.results_json import upgrade


def run(accuracy, fold="", seed=1, trainer="CoOp", **more):
    centers = more.pop("centers", None) or {"test": {"accuracy": {"value": accuracy}}}
    return upgrade(
        {
            **{"schema_version": 2, "status": "done", "dataset": "D", "trainer": trainer},
            **{"backbone": "B", "variant": "default", "shots": 1, "fold": fold, "seed": seed},
            **{"test_read_early": False, "centers": centers, "split_hash": fold or "plain"},
            **more,
        }
    )


def blocks(runs):
    (table,) = build_tables(group_runs(runs), "accuracy")
    return {center: [cells[0] for _, cells in rows] for center, rows in table.blocks}, table


def test_a_row_for_each_centre_that_was_left_out():
    runs = [run(50.0 + 10 * n, f"{n}/2", s, left_out_center=name)
            for n, name in ((1, "north"), (2, "south")) for s in (1, 2)]  # fmt: skip
    found, table = blocks(runs)
    assert found["north"] == ["60.0 ± 0.0"] and found["south"] == ["70.0 ± 0.0"]
    assert found["test"][0].startswith("65.0") and "*" not in str(found)
    assert any("left out of training once" in note for note in table.notes)


def test_base_new_and_their_harmonic_mean():
    centers = {"test": {"accuracy": {"value": 80.0}}, "new": {"accuracy": {"value": 60.0}}}
    found, table = blocks([run(0, centers=centers, base_to_new={"new_classes": ["x"]})])
    assert "base to new: test has the base classes, new those not trained on" in table.notes
    assert found["test"] == ["80.0"] and found["new"] == ["60.0"]
    assert found[HARMONIC] == [f"{2 * 80 * 60 / 140:.1f}"]


def test_search_budgets_are_shown_and_absent_where_nothing_was_chosen():
    spent = {"tries": 6, "labels": 40, "choices": {"settings": {"tries": 6, "labels": 40}}}
    groups = group_runs([run(1.0), run(2.0, trainer="LinearProbe", search=spent)])
    text = search_markdown(groups)
    assert "| D | LinearProbe | 1 | 6 | 40 | settings |" in text
    assert "| D | CoOp | 1 | - | - | - |" in text and "LinearProbe 6 tries" in search_note(groups)
    assert search_markdown(group_runs([run(1.0)])) == search_note(group_runs([run(1.0)])) == ""


def test_costs_are_medians_and_a_span_of_parameters():
    runtimes = [{"seconds": {"total": s}, "peak_memory_mib": 100.0 * s} for s in (1.0, 9.0, 2.0)]
    runs = [
        run(1.0, seed=i, runtime=one, trainable_params=12000 + i // 2)
        for i, one in enumerate(runtimes)
    ]
    text = cost_markdown(group_runs([*runs, run(2.0, trainer="Old", runtime={})]))
    assert "| D | CoOp | 1 | 12,000-12,001 | 2.0 | 200 |" in text
    assert "| D | Old | 1 | - | - | - |" in text


def test_repeated_folds_are_said_and_averaged():
    runs = [run(v, fold) for v, fold in ((1, "1/2"), (2, "2/2"), (3, "1/2@2"), (4, "2/2@2"))]
    (group,) = group_runs(runs)
    assert group.folds == 2 and group.fold_repeats == [1, 2]
    assert group.stat("test", "accuracy").mean == pytest.approx(2.5)
    _, table = blocks(runs)
    assert any("2 folds x 2 repeats" in note for note in table.notes)
