"""Frauds that keep every file in step with the others: only what lies outside them tells."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from audit_fixtures import (
    CLASSES,
    edit_json,
    edit_text,
    results_of,
    run_folder,
    scored,
    split_record,
    whole_split,
    write_honest,
    write_run,
    write_tables,
)

from cerviclip.evaluation.report import score
from cerviclip.runs.audit.run import audit, audit_results
from cerviclip.runs.ensemble import ensembles
from cerviclip.runs.measured import measure_files
from cerviclip.runs.predictions import Predictions, read_predictions, write_predictions
from cerviclip.runs.report.groups import load_runs
from cerviclip.runs.results_json import write_results
from cerviclip.severity import NOTE

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """Three runs with an external centre, and an ensemble of them."""
    output = write_honest(tmp_path_factory.mktemp("audited"), SEEDS)
    rng = np.random.default_rng(5)
    for seed in SEEDS:
        run = run_folder(output, seed)
        labels = np.arange(12) % 2
        lesion = np.clip(0.25 * labels + 0.75 * rng.random(12), 0.01, 0.99)
        far = Predictions(
            "Far", [f"far/{n:03d}.png" for n in range(12)], [f"F{n}" for n in range(12)],
            labels, np.stack([1 - lesion, lesion], axis=1), tuple(CLASSES),
        )  # fmt: skip
        with_centers(run, [*read_predictions(run), far])
    write_run(output.parent, 1, "Other")
    write_tables(output)
    return output


def with_centers(run, found, positive=("lesion",)):
    """These predictions, with all of results.json and the tables that follows from them."""
    write_predictions(run, found, found[0].classnames)
    results = results_of(run)
    for p in found:
        of = (p.labels.tolist(), p.probs, p.known_patients, p.classnames, list(positive))
        results["centers"][p.center] = score(*of)
    results["positive_classes"] = list(positive)
    measured_anew(run, results)


def measured_anew(run, results):
    write_results(run, results)
    write_results(run, results | measure_files(run))
    write_tables(run.parents[5])


def kept(p, numbers):
    numbers = list(numbers)
    return replace(
        p,
        paths=[p.paths[i] for i in numbers],
        patient_ids=[p.patient_ids[i] for i in numbers],
        labels=p.labels[numbers],
        probs=p.probs[numbers],
    )


def right(p):
    return [i for i in range(len(p)) if p.predicted[i] == p.labels[i]]


def hard_images_of_a_center_left_out(run):
    test, far = read_predictions(run)
    with_centers(run, [test, kept(far, right(far))])


def easy_images_of_a_center_twice(run):
    test, far = read_predictions(run)
    with_centers(run, [test, kept(far, [*range(len(far)), *right(far)])])


def labels_of_a_center_turned(run):
    test, far = read_predictions(run)
    with_centers(run, [test, replace(far, labels=far.predicted)])


def patients_of_the_training_at_a_center(run):
    test, far = read_predictions(run)
    trained = json.loads((run / "split.json").read_text())["train"][0]["patient"]
    with_centers(run, [test, replace(far, patient_ids=[trained, *far.patient_ids[1:]])])


def measures_without_their_settings(run):
    def change(results):
        results["measured_with"] = None
        results["calibration"]["temperature"]["value"] = 1.234

    edit_json(run / "results.json", change)


def another_cost(run):
    results = results_of(run)
    results["measured_with"]["miss_cost"] = 50.0
    measured_anew(run, results)


def another_positive_group(run):
    edit_json(run / "task.json", lambda task: task.update(positive=["normal"]))
    with_centers(run, read_predictions(run), ["normal"])


def leak_declared_by_split_json(run):
    split = whole_split()
    split["train"][0] = replace(split["train"][0], patient=split["test"][0].patient)
    redrawn(run, split, by="image")


def redrawn(run, split, **facts):
    old = json.loads((run / "split.json").read_text())
    record = split_record(old["hash"], split | {"train": split["train"][:4]}, old["draw_seed"])
    (run / "split.json").write_text(json.dumps(record | facts))
    write_results(run, results_of(run) | {"draw_hash": record["draw_hash"]})


def several_data_sets_claimed(run):
    """A split that joins several data sets gives no hash; so this one claims to be one."""
    edit_json(run / "split.json", lambda s: s.update(sources=["a"], test=s["test"][:-2]))
    test, far = read_predictions(run)
    with_centers(run, [kept(test, range(len(test) - 2)), far])


def split_without_a_draw(run):
    edit_json(run / "split.json", lambda s: s.pop("draw_hash"))


def patients_taken_out_of_the_draw(run):
    """The hash of a draw holds no patients."""

    def change(split):
        for row in split["train"]:
            row["patient"] = ""

    edit_json(run / "split.json", change)


def more_shots_than_stated(run):
    split = whole_split()
    old = json.loads((run / "split.json").read_text())
    record = split_record(old["hash"], split, old["draw_seed"])  # all six of train
    (run / "split.json").write_text(json.dumps(record))
    write_results(run, results_of(run) | {"draw_hash": record["draw_hash"]})


def other_shots_in_split_json(run):
    edit_json(run / "split.json", lambda split: split.update(shots=1))


def class_names_exchanged(run):
    """Sensitivity and specificity change places."""
    for name in ("predictions.csv", "val_predictions.csv"):
        found = read_predictions(run / name)
        for p in found:
            p.classnames = tuple(CLASSES[::-1])
        write_predictions(run, found, CLASSES[::-1], name)
    with_centers(run, read_predictions(run))


def left_out_center_claimed(run):
    write_results(run, results_of(run) | {"left_out_center": "Delhi"})
    write_tables(run.parents[5])


def transductive_denied(run):
    for seed in (1, 3):
        other = run.with_name(f"seed_{seed}")
        write_results(other, results_of(other) | {"transductive": True})
    write_tables(run.parents[5])


def val_predictions_removed(run):
    (run / "val_predictions.csv").unlink()
    measured_anew(run, results_of(run))


def new_classes_without_predictions(run):
    results = results_of(run)
    results["centers"]["new"] = results["centers"]["test"]
    results["base_to_new"] = {"new_classes": ["a"]}
    measured_anew(run, results)


def new_classes_better_than_predicted(run):
    with_new_classes(run, lambda p: replace(p, labels=p.predicted))


def with_new_classes(run, changed=lambda p: p):
    """A base-to-new run, whose new classes are scored after all else is measured."""
    p = replace(read_predictions(run)[0], center="new", classnames=("a", "b"))
    write_predictions(run, [p], p.classnames, "predictions_new.csv")
    p, results = changed(p), results_of(run)
    of = (p.labels.tolist(), p.probs, p.known_patients, p.classnames)
    results["centers"]["new"] = score(*of)
    write_results(run, results | {"base_to_new": {"new_classes": ["a", "b"]}})
    write_tables(run.parents[5])


def table_of_no_runs(run):
    table = "\n### Herlev: accuracy (%)\n\n| centre | trainer | 2 |\n|---|---|---:|\n"
    with open(run.parents[5] / "results.md", "a") as file:
        file.write(table + "| test | Method | 99.9 ± 0.1 |\n")


def second_table_of_one_name(run):
    path = run.parents[5] / "results.md"
    text = path.read_text()
    first = text[text.index("### ") : text.index("### ", text.index("### ") + 4)]
    path.write_text(text + "\n" + re.sub(r"\d+\.\d ± \d+\.\d", "99.9 ± 0.1", first))


def second_line_of_summary_csv(run):
    path = run.parents[5] / "summary.csv"
    line = next(x for x in path.read_text().splitlines() if ",test,accuracy," in x)
    cells = line.split(",")
    edit_text(path, line, ",".join([*cells[:-3], "97.5", *cells[-2:]]) + "\n" + line)


def counted(images):
    return {"images": images, "patients": images}


def flow_of(run, **changed):
    """A flow that is right but for what is changed."""
    split = json.loads((run / "split.json").read_text())
    used = {}
    for part in ("train", "val", "test"):
        labels = [row["label"] for row in split[part]]
        per_class = {name: counted(labels.count(n)) for n, name in enumerate(CLASSES)}
        used[part] = counted(len(labels)) | {"per_class": per_class}
    far = counted(12) | {"per_class": {name: counted(6) for name in CLASSES}}
    counts = {"seen": counted(24), "parts": {}, "excluded": [], "not_drawn": {}}
    sources = {
        "AuditSet": {"role": "training", **counts, "used": used},
        "Far": {"role": "external", **counts, "used": {"test": far}},
    }
    leaks = {"images_in_two_parts": {"count": 0}, "patients_in_two_parts": {"count": 0}}
    flow = {"sources": sources, "leaks": leaks | {"centers": {}}}
    for path, value in changed.items():
        *inner, last = path.split("__")
        node = flow
        for key in inner:
            node = node[key]
        node[last] = value
    write_results(run, results_of(run) | {"flow": flow})


def flow_with_more_training(run):
    flow_of(run, sources__AuditSet__used__train=counted(40) | {"per_class": {}})


def flow_with_other_classes(run):
    flow_of(run, sources__Far__used__test__per_class__lesion=counted(9))


def flow_with_other_patients(run):
    flow_of(run, sources__AuditSet__used__test__patients=99)


def flow_that_calls_the_training_a_centre(run):
    flow_of(run, sources__AuditSet__role="external")


def flow_of_a_centre_that_nobody_scored(run):
    flow_of(run)
    results = results_of(run)
    sources = results["flow"]["sources"]
    sources["Mayo"] = {**sources["Far"], "used": {"test": counted(5000) | {"per_class": {}}}}
    write_results(run, results)


def flow_without_a_centre(run):
    flow_of(run)
    results = results_of(run)
    del results["flow"]["sources"]["Far"]
    write_results(run, results)


def flow_that_denies_a_leak(run):
    flow_of(run)
    flow = results_of(run)["flow"]
    leak_declared_by_split_json(run)
    edit_text(run / "config.yaml", "SPLIT_BY: patient", "SPLIT_BY: image")
    write_results(run, results_of(run) | {"flow": flow})


#: What is planted in seed 2 -> the kind that must name it.
FRAUDS = {
    hard_images_of_a_center_left_out: "split_differs",
    easy_images_of_a_center_twice: "test_list",
    labels_of_a_center_turned: "split_differs",
    patients_of_the_training_at_a_center: "patient_leak",
    measures_without_their_settings: "blocks",
    another_cost: "identity",
    another_positive_group: "unlike",
    leak_declared_by_split_json: "patient_leak",
    several_data_sets_claimed: "split_edited",
    split_without_a_draw: "identity",
    patients_taken_out_of_the_draw: "split_differs",
    more_shots_than_stated: "identity",
    other_shots_in_split_json: "identity",
    class_names_exchanged: "identity",
    left_out_center_claimed: "identity",
    transductive_denied: "unlike",
    val_predictions_removed: "missing_file",
    new_classes_without_predictions: "missing_file",
    new_classes_better_than_predicted: "scores",
    table_of_no_runs: "table",
    second_table_of_one_name: "table",
    second_line_of_summary_csv: "table",
    flow_with_more_training: "flow",
    flow_with_other_classes: "flow",
    flow_with_other_patients: "flow",
    flow_that_calls_the_training_a_centre: "flow",
    flow_of_a_centre_that_nobody_scored: "flow",
    flow_without_a_centre: "flow",
    flow_that_denies_a_leak: "flow",
}


def kinds(output, full=0):
    return {f.kind for f in audit(output, full=full).findings if f.severity != NOTE}


def test_the_honest_folder_passes(honest, tmp_path):
    output = shutil.copytree(honest, tmp_path / "output")
    assert kinds(output, None) <= {"missing_seed"}  # of the other method
    flow_of(run_folder(output, 2))
    assert kinds(output) <= {"missing_seed"}


def test_an_honest_base_to_new_run_passes(honest, tmp_path):
    output = shutil.copytree(honest, tmp_path / "output")
    with_new_classes(run_folder(output, 2))
    assert kinds(output, None) <= {"missing_seed"}


@pytest.mark.parametrize("plant", FRAUDS, ids=lambda plant: plant.__name__)
def test_a_planted_fraud_is_found(honest, tmp_path, plant):
    output = shutil.copytree(honest, tmp_path / "output")
    plant(run_folder(output, 2))
    assert FRAUDS[plant] in kinds(output)


def test_a_center_without_its_scores_is_a_finding_not_a_traceback(honest, tmp_path):
    output = shutil.copytree(honest, tmp_path / "output")
    take = run_folder(output, 2) / "results.json"
    edit_json(take, lambda r: r["centers"]["Far"].pop("balanced_accuracy"))
    assert {"scores"} <= kinds(output, None)
    edit_json(take, lambda r: r["centers"].update(new={"n_images": 2}))
    assert {"scores"} <= kinds(output, None)


def test_a_task_json_that_names_no_classes_is_unreadable(honest, tmp_path):
    output = shutil.copytree(honest, tmp_path / "output")
    for names in ([None, "lesion"], 7):
        edit_json(
            run_folder(output, 2) / "task.json", lambda task, n=names: task.update(classnames=n)
        )
        assert "unreadable" in kinds(output)


@pytest.mark.parametrize("key", ["weights_sha256", "positive_classes"])
def test_the_quick_audit_names_a_key_that_is_lacking(honest, tmp_path, key):
    output = shutil.copytree(honest, tmp_path / "output")
    edit_json(run_folder(output, 2) / "results.json", lambda results: results.pop(key))
    found = [f.text for f in audit_results(output).findings if f.kind == "unreadable"]
    assert found == [f"it lacks the key {key!r}"]


def test_a_draw_of_another_file_may_have_another_seed(honest, tmp_path):
    """``--split FILE --seed 7``, and a zero-shot run of it, whose seed and shots are 0."""
    output = shutil.copytree(honest, tmp_path / "output")
    run = run_folder(output, 2)
    edit_json(run / "split.json", lambda split: split.update(draw_seed=7, shots=16))
    assert "identity" in kinds(output)
    edit_text(run / "config.yaml", "DRAW_FILE: ''", "DRAW_FILE: published.json")
    assert "identity" not in kinds(output)


def test_a_layout_of_its_own_is_no_misplaced_run(honest, tmp_path):
    """Active learning has runs/<strategy>-<budget>/seed_<s>."""
    run = shutil.copytree(run_folder(honest, 2), tmp_path / "runs" / "margin-10" / "seed_2")
    assert "misplaced" not in kinds(tmp_path / "runs")
    shutil.move(run.parent, tmp_path / "runs" / "shots_4")
    assert "misplaced" in kinds(tmp_path / "runs")


def test_a_data_set_with_hashes_of_its_own_passes(honest, tmp_path):
    """A plug-in's may have some; the split.json that is written for it repeats none."""
    output = shutil.copytree(honest, tmp_path / "output")
    for seed in SEEDS:
        path = run_folder(output, seed) / "split.json"
        split = json.loads(path.read_text())
        kept = {key: split[key] for key in ("dataset", "train", "val", "test")}
        text = json.dumps(kept, sort_keys=True)
        path.write_text(json.dumps(kept | {"hash": hashlib.sha256(text.encode()).hexdigest()}))
    assert "identity" not in kinds(output)


@pytest.fixture
def joined(tmp_path):
    """Two methods on three seeds, and the ensemble of each seed."""
    output = write_honest(tmp_path, SEEDS)
    for seed in SEEDS:
        write_run(tmp_path, seed, "Other")
    folders = [made.write(output)[0] for made in ensembles(load_runs(output), "mean", "default")]
    write_tables(output)
    return output, folders


def test_an_honest_ensemble_passes(joined):
    assert kinds(joined[0], None) == set()


def test_an_honest_ensemble_of_all_seeds_passes(joined):
    output, _ = joined
    runs = [run for run in load_runs(output) if not run.get("ensemble")]
    [of_all] = ensembles(runs, "mean", "of-all", join_seeds=True)
    of_all.write(output)
    write_tables(output)
    assert [f for f in audit(output, full=0).findings if f.severity != NOTE] == []


def test_better_predictions_of_an_ensemble_are_found(joined):
    output, (folder, *_) = joined
    p = read_predictions(folder)[0]
    p.probs[:] = [[0.9, 0.1] if label == 0 else [0.1, 0.9] for label in p.labels]
    write_predictions(folder, [p], CLASSES)
    results = results_of(folder)
    results["centers"]["test"] = scored(p)
    measured_anew(folder, results)
    found = [f for f in audit(output, full=None).findings if f.severity != NOTE]
    assert [f.kind for f in found] == ["scores"] and "its runs give" in found[0].text


def test_an_ensemble_whose_runs_are_elsewhere_is_a_note(joined):
    output, (folder, *_) = joined
    shutil.rmtree(output / "AuditSet" / "Other")
    found = audit(output, full=0).findings
    assert any(f.kind == "not_checked" and "ensemble" in f.text for f in found)
