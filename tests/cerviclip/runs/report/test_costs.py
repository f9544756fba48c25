"""The search budget names what was chosen, not only that something was."""

from cerviclip.runs.report.costs import search_rows
from cerviclip.runs.report.groups import group_runs


def run(seed, chosen=None, what="settings"):
    search = {"tries": 7, "labels": 12, "choices": {what: {"tries": 7, "labels": 12}}}
    runtime = {"trainer": {"search": {"chosen": chosen}}} if chosen else {}
    return {
        "status": "done", "dataset": "D", "trainer": "T", "backbone": "B", "variant": "default",
        "shots": 4, "fold": "", "seed": seed, "test_read_early": False, "centers": {},
        "search": search, "runtime": runtime,
    }  # fmt: skip


def chosen(*runs):
    [row] = search_rows(group_runs(runs))
    return row[-1]


def test_the_chosen_values_of_all_runs_are_named():
    both = run(1, {"C": 0.31622776, "BETA": 5.5}), run(2, {"C": 10.0, "BETA": 5.5})
    assert chosen(*both) == "settings (C 0.3162 to 10, BETA 5.5)"
    assert chosen(run(1, {"KIND": "a"}), run(2, {"KIND": "b"})) == "settings (KIND a or b)"


def test_what_is_not_recorded_is_named_without_a_value():
    assert chosen(run(1)) == "settings"
    assert chosen(run(1, what="epoch")) == "epoch"


def test_the_chosen_epochs_are_named():
    runs = [run(seed, what="epoch") for seed in (1, 2)]
    for one, epoch in zip(runs, (3, 12), strict=True):
        one["search"]["choices"]["epoch"]["chosen"] = epoch
    assert chosen(*runs) == "epoch (3 to 12)"


def test_costs_are_under_the_title():
    from cerviclip.runs.report.costs import cost_rows
    from cerviclip.runs.report.groups import Group

    run = {"fold": "", "seed": 1, "centers": {}, "runtime": {"title": "Cervix OCT"}}
    [row] = cost_rows([Group("FolderDataset", "CoOp", "B", "default", 4, 0, [run])])
    assert row[:3] == ("Cervix OCT", "CoOp", "4")
