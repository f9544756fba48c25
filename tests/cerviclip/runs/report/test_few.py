"""Tables name the centres that have few patients, with what results.json says of them."""

import pytest

from cerviclip.evaluation.names import NO_IDS
from cerviclip.runs.report.few import HINT, few_notes
from cerviclip.runs.report.few import test_of_folds as of_folds
from cerviclip.runs.report.formats import to_latex, to_markdown
from cerviclip.runs.report.groups import group_runs
from cerviclip.runs.report.tables import build_tables


def center(patients, events=None, classes=None):
    entry = {"n_patients": patients, "accuracy": {"value": 50.0, "low": 40.0, "high": 60.0}}
    if events is not None:
        there = {"events": {"patients": events}, "non_events": {"patients": patients - events}}
        entry["counts"] = there | {"per_class": {"x": {"patients": 1}}}
    if classes is not None:
        entry["counts"] = {"per_class": {c: {"patients": n} for c, n in classes.items()}}
    return entry


def run(fold="", seed=1, **centers):
    return {
        "status": "done", "dataset": "D", "trainer": "T", "backbone": "B", "variant": "default",
        "shots": 4, "fold": fold, "seed": seed, "test_read_early": False, "centers": centers,
    }  # fmt: skip


def notes(*runs, **how):
    return few_notes(group_runs(runs), **how)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (center(12, 6), "test 12 patients, 6 with the event, 6 without it"),
        (center(40, 6), "test 6 with the event"),
        (center(40, classes={"cyst": 9, "cancer": 10, "none": 0}), "test 9 of cyst"),
        (center(19), "test 19 patients"),
        (center(20, 10), ""),
        ({}, ""),
    ],
)
def test_what_is_few_is_named(entry, said):
    [note] = notes(run(test=entry)) or [""]
    assert said in note and bool(said) == bool(note)
    assert "D: " not in note and note.count("test") <= 1


def test_a_patient_of_two_kinds_is_explained_where_there_is_one():
    both = center(4, 4)
    both["counts"]["non_events"]["patients"] = 4
    counts_twice = "a patient with images of several kinds counts for each"
    assert counts_twice in notes(run(test=both))[0]
    assert "test 4 patients, 4 with the event, 4 without it;" in notes(run(test=both))[0]
    assert counts_twice not in notes(run(test=center(12, 6)))[0]


def test_the_run_with_the_fewest_counts_and_each_centre_is_named():
    found = notes(run(test=center(15), far=center(50)), run(seed=2, test=center(12), far=center(3)))
    assert "test 12 patients; far 3 patients" in found[0]


def test_folds_are_one_test_set_where_they_are_put_together():
    runs = [run(f"{k}/3", test=center(15, 6), far=center(12)) for k in (1, 2, 3)]
    told = "test (the smallest of the folds) 15 patients, 6 with the event, 9 without it; far 12 "
    assert told in notes(*runs)[0]
    [note] = notes(*runs, folds_together=True)
    assert "far 12 patients" in note and "test" not in note
    runs += [run(f"{k}/3@2", test=center(15, 6)) for k in (1, 2, 3)]
    [group] = group_runs(runs)
    assert of_folds(group)[""] == 45, "each repeat deals the same patients anew"


def test_a_centre_without_patient_ids_is_named_and_its_images_are_no_patients():
    """What the summary of one run says stands below each table, also where nothing is few."""
    nameless = center(40, 20) | {"note": NO_IDS}
    assert notes(run(test=center(40, 20), far=nameless)) == [f"far: {NO_IDS}"]
    by_unit = center(12, 6) | {"uncertainty": {"unit": "image"}}
    first, second = notes(run(test=by_unit))
    assert first == f"test: {NO_IDS}" and "test 12 images, 6 with the event" in second
    [table] = build_tables(group_runs([run(test=center(40), far=nameless)]), "accuracy")
    assert f"far: {NO_IDS}" in table.notes


def test_tables_have_the_note():
    [table] = build_tables(group_runs([run(test=center(12))]), "accuracy")
    assert any("test 12 patients" in note for note in table.notes)
    assert table.hints == [HINT] and HINT in to_markdown(table) and HINT not in to_latex(table)
