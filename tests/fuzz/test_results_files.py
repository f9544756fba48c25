"""results.json of other versions, other people and broken disks: refused, or shown as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from audit_fixtures import run_folder
from fuzz.bounds import call, examples, refused_or
from fuzz.mutations import changed, json_texts, places
from hypothesis import given
from hypothesis import strategies as st

from cerviclip.runs.report.groups import METRICS, load_runs, metric_value
from cerviclip.runs.results_check import check_blocks
from cerviclip.runs.results_json import read_results
from dassl.errors import UserError

HIGHEST = {"macro_auc": 1, "ece": 1, "binary.auc": 1}


def commands(folder: Path) -> list[list[str]]:
    """Every command that shows results."""
    return [
        ["tables", str(folder)],
        ["tables", str(folder), "--format", "json"],
        ["tables", str(folder), "--format", "latex", "--baseline", "Method"],
        ["compare", str(folder), "--against", "Method"],
        ["audit", str(folder)],
        ["ensemble", str(folder), "--join-seeds", "--output-dir", str(folder.parent / "joined")],
        ["report", str(folder), "--out", str(folder.parent / "draft.md")],
        ["curves", str(folder), "--out", str(folder.parent / "figures")],
    ]


def test_what_is_read_has_numbers_that_can_be(size, runs):
    path = run_folder(runs, 2) / "results.json"
    whole = json.loads(path.read_text())

    @examples(size, 60, 300)
    @given(json_texts(whole))
    def check(content):
        path.write_bytes(content)
        results = refused_or(lambda: read_results(path))
        if results is None:
            return
        for entry in results["centers"].values():
            for metric in METRICS:
                value = metric_value(entry, metric)
                assert value is None or 0 <= value <= HIGHEST.get(metric, 100)
            matrix, said = entry.get("confusion_matrix"), metric_value(entry, "accuracy")
            if matrix and said is not None:
                hits = sum(row[i] for i, row in enumerate(matrix))
                assert said == pytest.approx(100 * hits / sum(map(sum, matrix)))
        refused_or(lambda: check_blocks(results, path))

    check()


def test_every_command_on_results_ends_in_a_line(size, runs):
    path = run_folder(runs, 2) / "results.json"
    whole = json.loads(path.read_text())
    many = commands(runs)[: 5 if size == "few" else None]  # figures take seconds

    @examples(size, 10, 75)
    @given(json_texts(whole), st.sampled_from(many))
    def check(content, command):
        path.write_bytes(content)
        call(command)

    check()


def test_a_results_json_without_one_of_its_keys_is_shown_or_refused_in_a_line(runs):
    path = run_folder(runs, 2) / "results.json"
    whole = json.loads(path.read_text())
    told = [command for command in commands(runs) if command[0] in ("ensemble", "report", "audit")]
    for key in ("split_hash", "draw_hash", "config_hash", "positive_classes", "runtime"):
        path.write_text(json.dumps({k: v for k, v in whole.items() if k != key}))
        for command in told:
            call(command)


@pytest.mark.slow
@pytest.mark.long
def test_every_place_of_results_set_to_null_and_dropped(runs):
    path = run_folder(runs, 2) / "results.json"
    whole = json.loads(path.read_text())
    for how, value in (("set", None), ("drop", None), ("set", "x"), ("set", {}), ("set", [])):
        for i, place in enumerate(places(whole)):
            path.write_text(json.dumps(changed(whole, place, how, value)))
            # What the commands' common reader refuses is tried on the commands one time in eight.
            if i % 64 < 8 or refused_or(lambda: read_results(path, consistent=False)):
                call(commands(runs)[i % len(commands(runs))])


@pytest.mark.parametrize(
    "edit, told",
    [
        (lambda e: e["accuracy"].update(value=140.0), "accuracy"),
        (lambda e: e["accuracy"].update(value=e["accuracy"]["value"] + 5), "confusion_matrix"),
        (lambda e: e["macro_auc"].update(value=88.0), "0-1"),
        (lambda e: e["accuracy"].update(low=90.0, high=10.0), "lower above"),
        (lambda e: e.update(n_images=e["n_images"] + 1), "images"),
        (lambda e: e.update(n_patients=e["n_images"] + 1), "patients"),
        (lambda e: e["confusion_matrix"].pop(), "confusion_matrix"),
        (lambda e: e["confusion_matrix"][0].append(3), "confusion_matrix"),
        (lambda e: e["binary"]["sensitivity"].update(value=100.0), "sensitivity"),
        (lambda e: e["per_class"]["lesion"]["recall"].update(value=1.25), "recall"),
        (lambda e: e["balanced_accuracy"].update(value=1.25), "balanced_accuracy"),
        (lambda e: e["accuracy"].update(value=float("nan")), "NaN"),
        (lambda e: e["accuracy"].update(value="91.2"), "accuracy"),
        (lambda e: e["accuracy"].update(value=True), "accuracy"),
    ],
)  # fmt: skip
def test_a_number_that_cannot_be_is_refused_by_every_table(runs, edit, told):
    path = run_folder(runs, 2) / "results.json"
    whole = json.loads(path.read_text())
    edit(whole["centers"]["test"])
    path.write_text(json.dumps(whole))
    with pytest.raises(UserError, match=told) as refusal:
        load_runs(runs)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("value", [140.0, 12.5])
def test_an_audit_names_such_a_number_and_goes_on(runs, value):
    path = run_folder(runs, 2) / "results.json"
    whole = json.loads(path.read_text())
    whole["centers"]["test"]["accuracy"]["value"] = value
    path.write_text(json.dumps(whole))
    ended = call(["audit", str(runs), "--full", "0"])
    assert ended.status == 1 and "seed_2" in ended.out and "accuracy" in ended.out


def test_pooled_scores_that_were_edited_are_scored_again(tmp_path):
    from cerviclip.runs.report.groups import METRICS
    from cerviclip.runs.report.pooled import POOLED, read_pooled

    score = {"n_images": 4, "binary": {}}
    for metric in METRICS:
        block, _, name = metric.rpartition(".")
        (score[block] if block else score)[name] = {"value": 0.5, "low": 0.4, "high": 0.6}
    cell = dict.fromkeys(("dataset", "trainer", "backbone", "variant"), "x")
    entry = cell | {"shots": 4, "folds": 3, "seed": 1, "source": "x", "score": score}
    sound = {"schema_version": 1, "pooled": [entry]}
    (tmp_path / POOLED).write_text(json.dumps(sound))
    assert read_pooled(tmp_path) == [entry]
    for edited in ({"value": 750.0, "low": 0.4, "high": 0.6}, {"value": 0.5, "low": 0.4}):
        entry["score"]["accuracy"] = edited
        (tmp_path / POOLED).write_text(json.dumps(sound))
        assert read_pooled(tmp_path) == []
