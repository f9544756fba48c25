"""results.json: whole or absent, of either schema, and never with what JSON cannot hold."""

import json

import pytest

from cerviclip.runs.results_json import (
    ADDED,
    KEYS,
    SCHEMA_VERSION,
    finite_or_none,
    is_finished,
    read_results,
    with_what_was_taken_out,
    write_results,
)
from dassl.errors import UserError

ABSENT = ADDED[2]
RUN = {
    "status": "done", "error": None, "dataset": "Herlev", "trainer": "CoOp", "backbone": "RN50",
    "variant": "default", "shots": 1, "seed": 3, "test_read_early": False, "centers": {},
}  # fmt: skip


def stated_version(folder):
    return json.loads((folder / "results.json").read_text())["schema_version"]


def test_results_are_written_whole_and_never_with_nan(tmp_path):
    results = {"schema_version": 2, **RUN, **ABSENT}
    write_results(tmp_path, results)
    with pytest.raises(ValueError):
        write_results(tmp_path, results | {"x": float("nan")})
    assert read_results(tmp_path) == results
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_a_file_states_the_lowest_version_that_holds_what_it_says(tmp_path):
    plain = {"schema_version": 2, **RUN, **ABSENT}
    write_results(tmp_path, plain)
    text = (tmp_path / "results.json").read_text()
    assert json.loads(text) == {"schema_version": 1, **RUN}
    assert read_results(tmp_path) == plain
    write_results(tmp_path, {"schema_version": 2, **RUN})  # what is absent says nothing
    assert (tmp_path / "results.json").read_text() == text
    write_results(tmp_path, plain | {"fold": "3/10"})
    assert stated_version(tmp_path) == 2
    assert read_results(tmp_path) == plain | {"fold": "3/10"}
    with_counts = plain | {"centers": {"test": {"n_images": 3, "counts": {}}}}
    write_results(tmp_path, with_counts)
    assert stated_version(tmp_path) == 2 and read_results(tmp_path) == with_counts
    write_results(tmp_path, plain | {"calibration": {"fitted_on": "val"}})
    assert stated_version(tmp_path) == 2


def test_results_of_the_first_schema_are_read_as_of_the_newest(tmp_path):
    old = {"schema_version": 1, **RUN, "shots": "full"}
    (tmp_path / "results.json").write_text(json.dumps(old))
    results = read_results(tmp_path)
    assert results == old | {"schema_version": SCHEMA_VERSION, **ABSENT}
    write_results(tmp_path, results)
    assert json.loads((tmp_path / "results.json").read_text()) == old


def test_what_another_hand_has_taken_out_is_empty():
    nothing = {"split_hash": None, "draw_hash": None, "config_hash": "", "positive_classes": [],
               "runtime": {}}  # fmt: skip
    assert with_what_was_taken_out(RUN) == RUN | nothing
    whole = {"split_hash": "a", "draw_hash": "b", "config_hash": "c", "positive_classes": ["d"],
             "runtime": {"device": "cpu"}}  # fmt: skip
    assert with_what_was_taken_out(RUN | whole) == RUN | whole


def test_every_key_that_a_later_schema_added_is_a_key():
    assert set(ADDED) == set(range(2, SCHEMA_VERSION + 1))
    assert {key for added in ADDED.values() for key in added} < set(KEYS)


def test_finished_is_done_with_the_same_hash():
    assert is_finished({"status": "done", "config_hash": "a"}, "a")
    assert not is_finished({"status": "done", "config_hash": "a"}, "b")
    assert not is_finished({"status": "failed", "config_hash": "a"}, "a")
    assert not is_finished(None, "a")


def test_numbers_that_contradict_each_other_are_refused_but_for_an_audit(tmp_path):
    center = {"confusion_matrix": [[3, 1], [0, 4]], "accuracy": {"value": 99.0}}
    text = json.dumps({"schema_version": 1, **RUN, "centers": {"test": center}})
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match="results.json: centers.test.accuracy is 99.0, and its"):
        read_results(tmp_path)
    assert read_results(tmp_path, consistent=False)["centers"]["test"] == center


@pytest.mark.parametrize(
    ("path", "highest"),
    [("accuracy", 100), ("macro_auc", 1), ("ece", 1), ("binary.auc", 1), ("binary.ppv", 100)],
)
def test_areas_and_errors_of_calibration_are_shares_and_the_rest_percent(tmp_path, path, highest):
    def center(number):
        metric = {"value": number, "low": None, "high": None}
        block, _, name = path.rpartition(".")
        return {block: {name: metric}} if block else {name: metric}

    for number in (0, highest, highest + 0.5):
        text = json.dumps({"schema_version": 1, **RUN, "centers": {"test": center(number)}})
        (tmp_path / "results.json").write_text(text)
        if number <= highest:
            assert read_results(tmp_path)
            continue
        with pytest.raises(UserError, match=f"{path}.value is {number}, not in 0-{highest}"):
            read_results(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"schema_version": "two"}'])
def test_a_broken_results_file_is_named(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match="results.json"):
        read_results(tmp_path)


def test_newer_schema_is_refused(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(UserError, match="99"):
        read_results(tmp_path)


def test_what_json_cannot_hold_becomes_none():
    assert finite_or_none({"a": [float("nan"), 1.5, float("inf")], "b": "x"}) == {
        "a": [None, 1.5, None], "b": "x",
    }  # fmt: skip
