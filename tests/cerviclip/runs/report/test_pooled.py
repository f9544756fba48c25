"""Out-of-fold predictions put together: scored as one test set, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cerviclip.evaluation.bounds import BOOTSTRAP_METHOD
from cerviclip.evaluation.measures import Sample, Settings
from cerviclip.evaluation.measures.blocks import SPLIT_PATIENTS
from cerviclip.evaluation.measures.thresholds.operating_points import choose
from cerviclip.evaluation.names import BOOTSTRAP
from cerviclip.evaluation.report import score
from cerviclip.runs.predictions import (
    Predictions,
    pooled,
    write_predictions,
)
from cerviclip.runs.report import pooled as pooled_module
from cerviclip.runs.report.groups import group_runs
from cerviclip.runs.report.pooled import (
    pooled_entries,
    pooled_tables,
    read_pooled,
    why_not_pooled,
)

CLASSES = ("a", "b")


def make_run(folder, number, folds=3, seed=1, first=None, trainer="CoOp"):
    """A finished run of a fold: ten images of its own, five patients, noisy probabilities."""
    rng = np.random.default_rng([number, seed])
    start = 10 * number if first is None else first
    labels = np.arange(10) % 2
    p = np.clip(0.5 + 0.3 * (labels - 0.5) + rng.normal(0, 0.3, 10), 0.01, 0.99)
    predictions = Predictions(
        "test",
        [f"x/{start + i}.png" for i in range(10)],
        [f"P{(start + i) // 2}" for i in range(10)],
        labels,
        np.stack([1 - p, p], axis=1),
        CLASSES,
    )
    place = folder / trainer / f"{number}of{folds}-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    write_predictions(place, [predictions], CLASSES)
    results = {
        "status": "done", "dataset": "D", "trainer": trainer, "backbone": "RN50",
        "variant": "default", "shots": 4, "fold": f"{number}/{folds}", "seed": seed,
        "positive_classes": ["b"], "test_read_early": False, "split_hash": f"f{number}",
        "centers": {}, "folder": str(place),
    }  # fmt: skip
    return results, predictions


@pytest.fixture
def three(tmp_path):
    made = [make_run(tmp_path, n) for n in (1, 2, 3)]
    return [run for run, _ in made], [predictions for _, predictions in made]


def test_the_score_is_that_of_all_images_at_once(three, tmp_path):
    runs, parts = three
    [entry] = pooled_entries(group_runs(runs), tmp_path)
    labels = [int(k) for p in parts for k in p.labels]
    probs = np.concatenate([p.probs for p in parts])
    ids = [patient for p in parts for patient in p.patient_ids]
    assert entry["score"] == score(labels, probs, ids, CLASSES, ["b"], BOOTSTRAP)
    assert (entry["folds"], entry["seed"], entry["score"]["n_patients"]) == (3, 1, 15)
    assert json.loads(json.dumps(entry)) == entry


def test_intervals_are_by_the_method_of_the_runs(three, tmp_path):
    own = {"uncertainty": {"method": {"default": "Wilson"}}}
    few = [run | {"centers": {"test": own}} for run in three[0]]
    [entry], [usual] = (pooled_entries(group_runs(runs), tmp_path) for runs in (few, three[0]))
    said = [e["score"]["uncertainty"]["method"]["default"] for e in (entry, usual)]
    assert "Wilson" in said[0] and said[1] == BOOTSTRAP_METHOD
    assert entry["score"]["accuracy"]["value"] == usual["score"]["accuracy"]["value"]
    assert entry["source"] != usual["source"]


def test_measures_are_made_with_the_settings_of_the_runs(three, tmp_path):
    stated = Settings(miss_cost=7.0, prevalences=(0.5,))
    runs = [run | {"measured_with": stated.to_json()} for run in three[0]]
    [entry], [usual] = (pooled_entries(group_runs(own), tmp_path) for own in (runs, three[0]))
    found = [Settings.from_json(e["measures"]["measured_with"]) for e in (entry, usual)]
    assert found == [stated, Settings()]
    assert entry["source"] != usual["source"]  # or the scores of before would be taken


def test_seeds_are_pooled_apart_and_averaged_in_the_table(three, tmp_path):
    runs, _ = three
    runs = runs + [make_run(tmp_path, n, seed=2)[0] for n in (1, 2, 3)]
    entries = pooled_entries(group_runs(runs), tmp_path)
    assert [entry["seed"] for entry in entries] == [1, 2]
    [table] = pooled_tables(entries, "accuracy")
    values = [entry["score"]["accuracy"]["value"] for entry in entries]
    [(center, [(label, [cell])])] = table.blocks
    assert (center, label) == ("test, pooled", "CoOp")
    assert cell == f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"
    assert "mean ± sd over 2 seeds" in table.notes
    assert any("test, pooled 15 patients" in note for note in table.notes)


def test_one_seed_has_its_interval_by_patient(three, tmp_path):
    [entry] = pooled_entries(group_runs(three[0]), tmp_path)
    [table] = pooled_tables([entry], "binary.auc")
    auc = entry["score"]["binary"]["auc"]
    assert table.blocks[0][1][0][1] == [f"{auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]"]


def test_without_one_of_the_folds_nothing_is_pooled(three, tmp_path):
    [entry] = pooled_entries(group_runs(three[0][:2]), tmp_path)
    assert entry["score"] is None and "(3)" in entry["reason"]
    assert pooled_tables([entry], "accuracy") == []


def test_folds_of_different_splits_are_not_pooled(three, tmp_path):
    """As when the folds of another DATASET.SPLIT_SEED stand in one folder."""
    runs = [*three[0][:2], make_run(tmp_path, 3, first=15)[0]]
    [entry] = pooled_entries(group_runs(runs), tmp_path)
    assert entry["score"] is None and "two folds test the same image (x/15.png)" in entry["reason"]


def test_a_run_whose_predictions_are_gone_is_named(three, tmp_path):
    runs, _ = three
    (tmp_path / "CoOp/2of3-1/predictions.csv").unlink()
    [entry] = pooled_entries(group_runs(runs), tmp_path)
    assert entry["score"] is None and "2of3-1/predictions.csv does not exist" in entry["reason"]


def test_a_broken_file_costs_its_own_score_alone(three, tmp_path):
    runs = three[0] + [make_run(tmp_path, n, trainer="KgCoOp")[0] for n in (1, 2, 3)]
    (tmp_path / "CoOp/2of3-1/predictions.csv").write_text("center,path\n")
    broken, whole = pooled_entries(group_runs(runs), tmp_path)
    assert broken["score"] is None and "not a run's predictions" in broken["reason"]
    assert whole["trainer"] == "KgCoOp" and whole["score"]["n_images"] == 30


def test_a_plain_split_has_nothing_to_pool(three, tmp_path):
    assert pooled_entries(group_runs([three[0][0] | {"fold": ""}]), tmp_path) == []


def test_the_same_predictions_are_not_scored_again(three, tmp_path, monkeypatch):
    runs, _ = three
    first = pooled_entries(group_runs(runs), tmp_path)
    (tmp_path / "pooled.json").write_text(json.dumps({"pooled": first}))
    monkeypatch.setattr(pooled_module, "_score", lambda *_: {"scored": "again"})
    assert pooled_entries(group_runs(runs), tmp_path) == first
    make_run(tmp_path, 3, first=100)
    assert pooled_entries(group_runs(runs), tmp_path)[0]["score"] == {"scored": "again"}


def test_pooled_thresholds_are_chosen_out_of_fold(three, tmp_path):
    """A fold's threshold follows from the other folds' predictions alone."""
    runs, parts = three
    [entry] = pooled_entries(group_runs(runs), tmp_path)
    measures = entry["measures"]
    point = measures["operating_points"]["points"]["youden"]
    assert measures["operating_points"]["chosen_on"] == "out of fold"
    samples = [Sample.of("x", p.labels, p.probs, p.patient_ids, CLASSES, ["b"]) for p in parts]
    for i, threshold in enumerate(point["by_fold"]):
        others = pooled([p for j, p in enumerate(parts) if j != i])
        of = (others.labels, others.probs, others.patient_ids, CLASSES, ["b"])
        assert threshold == choose(Sample.of("others", *of))["youden"]
    called = [s.score >= t for s, t in zip(samples, point["by_fold"], strict=True)]
    right = [c[s.is_positive].sum() for c, s in zip(called, samples, strict=True)]
    found = point["centers"]["test"]
    assert found["sensitivity"]["value"] == pytest.approx(100 * sum(right) / 15)
    assert found["loss"]["sensitivity"] == pytest.approx(
        found["own_best"]["sensitivity"] - found["sensitivity"]["value"]
    )
    assert measures["calibration"]["centers"]["test"]["temperature"]["classes"]["log_loss"]["low"]


def test_a_changed_label_of_a_fold_moves_no_threshold_of_it(tmp_path):
    made = [make_run(tmp_path / "one", n) for n in (1, 2, 3)]
    [before] = pooled_entries(group_runs([run for run, _ in made]), tmp_path / "one")
    run, predictions = made[1]
    turned = replace(predictions, labels=1 - predictions.labels)
    write_predictions(run["folder"], [turned], CLASSES)
    [after] = pooled_entries(group_runs([run for run, _ in made]), tmp_path / "one")
    for name in ("sensitivity_95", "youden"):
        old, new = (
            e["measures"]["operating_points"]["points"][name]["by_fold"] for e in (before, after)
        )
        assert old[1] == new[1]
        assert old != new


def test_thresholds_are_carried_to_external_centres_for_each_folds_model(tmp_path):
    runs = []
    for number in (1, 2, 3):
        run, predictions = make_run(tmp_path, number)
        _, away = make_run(tmp_path / "away", 7, seed=number)
        parts = [predictions, replace(away, center="far")]
        write_predictions(run["folder"], parts, CLASSES)
        runs.append(run)
    [entry] = pooled_entries(group_runs(runs), tmp_path)
    block = entry["measures"]["operating_points"]
    found = block["points"]["specificity_95"]["centers"]["far"]
    assert 0 <= found["specificity"]["value"] <= 100
    assert entry["measures"]["centers_note"] == pooled_module.ALL_MODELS
    assert entry["measures"]["patient_level"]["centers"]["far"]["n_patients"] == 5


def test_patients_in_several_folds_have_no_threshold_by_patient(tmp_path):
    runs = []
    for number in (1, 2, 3):
        run, predictions = make_run(tmp_path, number)
        shared = replace(predictions, patient_ids=[f"P{i // 2}" for i in range(10)])
        write_predictions(run["folder"], [shared], CLASSES)
        runs.append(run)
    [entry] = pooled_entries(group_runs(runs), tmp_path)
    assert entry["measures"]["patient_level"]["reason"] == SPLIT_PATIENTS


def test_pooled_measures_are_of_all_images(three, tmp_path):
    runs, parts = three
    [entry] = pooled_entries(group_runs(runs), tmp_path)
    measures = entry["measures"]
    found = measures["discrimination"]["test"]["binary"]["auc"]["value"]
    assert found == pytest.approx(entry["score"]["binary"]["auc"]["value"])
    assert measures["patient_level"]["centers"]["test"]["n_images"] == 15
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry


def made(value, trainer="CoOp", seed=1, shots=4, **more):
    """A pooled entry whose accuracy and calibration error are made up."""
    metric = {"value": value, "low": value - 1, "high": value + 1}
    counted = {"per_class": {}, "events": {"images": 20, "patients": 20},
               "non_events": {"images": 20, "patients": 20}}  # fmt: skip
    score = {"n_images": 40, "n_patients": 40, "accuracy": metric, "counts": counted,
             "ece": {"value": 0.25, "low": 0.125, "high": 0.375}}  # fmt: skip
    return {
        "dataset": "D", "trainer": trainer, "backbone": "RN50", "variant": "default", "folds": 3,
        "shots": shots, "seed": seed, "test_read_early": False, "score": score, **more,
    }  # fmt: skip


def rows_of(table):
    [(_, rows)] = table.blocks
    return dict(rows)


def test_fewer_seeds_and_early_looks_are_marked_and_the_marks_explained():
    entries = [made(50.0), made(60.0, seed=2), made(40.0, "KgCoOp"),
               made(70.0, "ProGrad", test_read_early=True), made(80.0, "ProGrad", seed=2),
               {**made(1.0, "Broken"), "score": None, "reason": "gone"}]  # fmt: skip
    [table] = pooled_tables(entries, "accuracy")
    assert (table.dataset, table.metric, table.columns) == ("D", "accuracy", ["4"])
    assert table.title == "D: accuracy (%), folds pooled"
    assert table.hints == ["pooled.json says why"]
    assert rows_of(table) == {
        "CoOp": ["55.0 ± 7.1"], "KgCoOp": ["40.0*"], "ProGrad": ["75.0 ± 7.1†"],
    }  # fmt: skip
    assert table.notes[0] == "out-of-fold predictions of 3 folds put together"
    for note in ("mean ± sd over 2 seeds", "1 not pooled",
                 "* fewer seeds than the others",
                 "† the test set was read before training had ended"):  # fmt: skip
        assert note in table.notes
    [plain] = pooled_tables([made(50.0), made(40.0, "KgCoOp")], "accuracy")
    assert rows_of(plain)["CoOp"] == ["50.0 [49.0, 51.0]"]
    assert "one seed" in plain.notes and "[95 % interval by patient]" in plain.notes
    assert not any(note[0] in "*†" or "not pooled" in note for note in plain.notes)
    assert plain.hints == []


def test_a_method_without_training_stands_in_every_column_of_shots():
    entries = [made(50.0), made(60.0, shots=8), made(30.0, "ZeroShotCLIP", 0, 0)]
    more = [made(70.0, shots="full"), made(65.0, shots=16)]
    assert pooled_tables([*more, *entries], "accuracy")[0].columns == ["4", "8", "16", "full"]
    [table] = pooled_tables(entries, "accuracy")
    assert table.columns == ["4", "8"]
    assert rows_of(table)["ZeroShotCLIP"] == ["30.0 [29.0, 31.0]"] * 2
    assert rows_of(table)["CoOp"] == ["50.0 [49.0, 51.0]", "60.0 [59.0, 61.0]"]
    several = [*entries, made(52.0, seed=2), made(62.0, seed=2, shots=8)]
    [table] = pooled_tables(several, "accuracy")
    assert rows_of(table)["ZeroShotCLIP"] == ["30.0 [29.0, 31.0]"] * 2  # no star: it has no seeds


def test_a_calibration_error_is_a_share_with_three_digits():
    [table] = pooled_tables([made(50.0)], "ece")
    assert rows_of(table)["CoOp"] == ["0.250 [0.125, 0.375]"]


def test_methods_that_see_the_test_images_have_a_table_of_their_own():
    sees = made(90.0, "TransCLIP", transductive=True)
    gone = {**sees, "seed": 2, "score": None, "reason": "gone"}
    first, second = pooled_tables([made(50.0), sees, gone], "accuracy")
    assert list(rows_of(first)) == ["CoOp"] and list(rows_of(second)) == ["TransCLIP"]
    assert [t.transductive for t in (first, second)] == [False, True]
    notes = ["1 not pooled" in t.notes for t in (first, second)]
    assert notes == [False, True]


def test_repetitions_of_folds_are_pooled_apart_and_averaged(three, tmp_path):
    runs = list(three[0])
    for number in (1, 2, 3):
        again, _ = make_run(tmp_path / "again", number, first=10 * (number % 3))
        runs.append(again | {"fold": f"{number}/3@2"})
    entries = pooled_entries(group_runs(runs), tmp_path)
    assert [entry.get("repeat", 1) for entry in entries] == [1, 2]
    assert all(entry["score"]["n_images"] == 30 for entry in entries)
    [table] = pooled_tables(entries, "accuracy")
    values = [entry["score"]["accuracy"]["value"] for entry in entries]
    assert rows_of(table)["CoOp"] == [f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"]
    assert "mean ± sd over 2 repeats x one seed" in table.notes


def test_transductive_runs_make_a_transductive_entry(three, tmp_path):
    runs = [run | {"transductive": True} for run in three[0]]
    [entry] = pooled_entries(group_runs(runs), tmp_path)
    assert entry["transductive"] is True
    assert "transductive" not in pooled_entries(group_runs(three[0]), tmp_path)[0]


def test_folds_of_different_classes_are_not_pooled(three):
    parts = [replace(p, classnames=("a", "c")) if i else p for i, p in enumerate(three[1])]
    assert why_not_pooled(parts, 3) == "the folds' runs have different classes"
    assert why_not_pooled(three[1], 3) == ""
    assert why_not_pooled(three[1], 4) == "1 of 4 runs have no predictions of the test part"


def test_a_damaged_pooled_file_is_as_none(three, tmp_path):
    """One whose numbers contradict each other too: all is scored again."""
    entries = pooled_entries(group_runs(three[0]), tmp_path)
    lost = {**entries[0], "score": None, "reason": "gone"}
    path = tmp_path / "pooled.json"
    path.write_text(json.dumps({"pooled": [*entries, lost]}))
    assert read_pooled(tmp_path) == [*entries, lost]
    entries[0]["score"]["accuracy"]["value"] += 5
    path.write_text(json.dumps({"pooled": entries}))
    assert read_pooled(tmp_path) == []


def test_pooled_tables_have_the_title_of_the_folds(three, tmp_path):
    runs, _ = three
    assert "titles" not in pooled_entries(group_runs(runs), tmp_path)[0]
    titled = [run | {"runtime": {"title": "Hospital A"}} for run in runs]
    [table] = pooled_tables(pooled_entries(group_runs(titled), tmp_path), "accuracy")
    assert table.title == "Hospital A: accuracy (%), folds pooled"
    titled[0]["runtime"] = {"title": "Hospital B"}
    [table] = pooled_tables(pooled_entries(group_runs(titled), tmp_path), "accuracy")
    assert table.title == f"{runs[0]['dataset']}: accuracy (%), folds pooled"
    assert any(note.endswith('"Hospital B", "Hospital A"') for note in table.notes)
