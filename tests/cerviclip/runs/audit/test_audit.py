"""An honest folder passes; each planted fraud is found by its own name."""

from __future__ import annotations

import json
import shutil
import time

import pytest
from audit_fixtures import (
    CLASSES,
    DATASET,
    TRAINER,
    edit_json,
    edit_text,
    results_of,
    run_folder,
    scored,
    split_record,
    whole_split,
    write_honest,
    write_tables,
)

from cerviclip.runs.audit.run import audit
from cerviclip.runs.predictions import read_predictions, write_predictions
from cerviclip.runs.results_json import write_results
from cerviclip.severity import NOTE
from cerviclip.tools import audit as tool
from dassl.errors import cli_main


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return write_honest(tmp_path_factory.mktemp("audited"))


def kinds(output, full=0):
    return {f.kind for f in audit(output, full=full).findings if f.severity != NOTE}


def test_an_honest_folder_passes(honest):
    report = audit(honest, full=None)
    assert (report.runs, report.full, list(report.findings)) == (3, 3, [])


def edited_config(run):
    edit_text(run / "config.yaml", "LR: 0.0003", "LR: 0.003")


def another_seed_claimed(run):
    edit_json(run / "results.json", lambda r: r.update(seed=7))


def run_copied_to_another_seed(run):
    shutil.rmtree(run)
    shutil.copytree(run.with_name("seed_1"), run)


def copied_run_relabelled(run):
    shutil.copy(run.with_name("seed_1") / "predictions.csv", run)
    results = results_of(run)
    results["centers"] = results_of(run.with_name("seed_1"))["centers"]
    write_results(run, results)


def other_training_images(run):
    edit_json(run / "split.json", lambda s: s["train"][0].update(path="set/normal/004.png"))


def _redraw(run, change):
    """Another split with hashes that are right: the leak is in the split as it was made."""
    split = whole_split()
    change(split)
    old = json.loads((run / "split.json").read_text())
    split["train"] = split["train"][:4]
    record = split_record(old["hash"], split, old["draw_seed"])
    (run / "split.json").write_text(json.dumps(record))
    results = results_of(run)
    results["draw_hash"] = record["draw_hash"]
    write_results(run, results)


def patient_in_two_parts(run):
    from dataclasses import replace

    def change(split):
        split["train"][0] = replace(split["train"][0], patient=split["test"][0].patient)

    _redraw(run, change)


def trained_on_a_test_image(run):
    def change(split):
        split["train"][0] = split["test"][0]

    _redraw(run, change)


def copy_of_a_test_image(run):
    data = run.parents[6] / "data" / "set"
    name = json.loads((run / "split.json").read_text())["train"][0]["path"].split("/", 1)[1]
    shutil.copy(data / "normal" / "012.png", data / name)


def external_center_of_training_images(run):
    found = read_predictions(run)[0]
    found.center, found.paths[0] = "Far", "set/normal/000.png"
    write_predictions(run, [*read_predictions(run), found], CLASSES)
    edit_json(run / "split.json", lambda s: s["train"][0].update(path="set/normal/000.png"))


def hard_images_left_out(run):
    """The whole chain: predictions, scores and split."""
    p = read_predictions(run)[0]
    keep = [i for i in range(len(p)) if p.predicted[i] == p.labels[i]]
    assert len(keep) < len(p)
    edit_json(run / "split.json", lambda s: s.update(test=[s["test"][i] for i in keep]))
    _keep(run, p, keep)


def predictions_of_part_of_the_test(run):
    _keep(run, p := read_predictions(run)[0], range(len(p) - 2))


def _keep(run, p, keep):
    keep = list(keep)
    p.paths, p.patient_ids = [p.paths[i] for i in keep], [p.patient_ids[i] for i in keep]
    p.labels, p.probs = p.labels[keep], p.probs[keep]
    _rescore(run, p)


def _rescore(run, p):
    write_predictions(run, [p], CLASSES)
    results = results_of(run)
    results["centers"]["test"] = scored(p)
    write_results(run, results)


def labels_turned_to_the_predictions(run):
    p = read_predictions(run)[0]
    p.labels = p.predicted
    _rescore(run, p)


def better_accuracy(run):
    edit_json(run / "results.json", lambda r: r["centers"]["test"]["accuracy"].update(value=99.0))


def better_predictions(run):
    p = read_predictions(run)[0]
    p.probs[:] = [[0.9, 0.1] if label == 0 else [0.1, 0.9] for label in p.labels]
    write_predictions(run, [p], CLASSES)


def narrower_interval(run):
    def change(results):
        accuracy = results["centers"]["test"]["accuracy"]
        accuracy["low"] = accuracy["value"] - 1

    edit_json(run / "results.json", change)


def another_temperature(run):
    def change(results):
        results["calibration"]["temperature"]["value"] = 1.234

    edit_json(run / "results.json", change)


def thresholds_of_the_test(run):
    def change(results):
        points = results["operating_points"]["points"]
        next(p for p in points.values() if p["threshold"] is not None)["threshold"] = 0.123

    edit_json(run / "results.json", change)


def seed_removed(run):
    shutil.rmtree(run)
    write_tables(run.parents[5])


def seed_left_out_of_the_table(run):
    aside = run.parents[6] / "aside"
    shutil.move(run, aside)
    write_tables(run.parents[5])
    shutil.move(aside, run)


def looked_at_the_test_early(run):
    edit_json(run / "results.json", lambda r: r.update(test_read_early=True))


def another_version(run):
    edit_json(run / "results.json", lambda r: r["runtime"]["versions"].update(torch="2.4"))


def other_weights(run):
    edit_json(run / "results.json", lambda r: r.update(weights_sha256="0" * 64))


def edited_summary_csv(run):
    path = run.parents[5] / "summary.csv"
    line = next(x for x in path.read_text().splitlines() if ",test,accuracy," in x)
    cells = line.split(",")
    edit_text(path, line, ",".join([*cells[:-3], "97.5", *cells[-2:]]))


def edited_summary_json(run):
    def change(summary):
        summary["groups"][0]["centers"]["test"]["accuracy"]["mean"] = 97.5

    edit_json(run.parents[5] / "summary.json", change)


def edited_markdown(run):
    path = run.parents[5] / "results.md"
    line = next(x for x in path.read_text().splitlines() if x.startswith("| test |"))
    edit_text(path, line, f"| test | {TRAINER} | 97.5 ± 0.3 |")


def failed_run_in_the_table(run):
    edit_json(run / "results.json", lambda r: r.update(status="failed", error="out of memory"))


def predictions_removed(run):
    (run / "predictions.csv").unlink()


#: What is planted in seed 2 -> the kind that must name it.
FRAUDS = {
    edited_config: "config_hash",
    another_seed_claimed: "identity",
    run_copied_to_another_seed: "misplaced",
    copied_run_relabelled: "same_run",
    other_training_images: "split_edited",
    patient_in_two_parts: "patient_leak",
    trained_on_a_test_image: "image_leak",
    copy_of_a_test_image: "copy_leak",
    external_center_of_training_images: "image_leak",
    hard_images_left_out: "split_differs",
    predictions_of_part_of_the_test: "test_list",
    labels_turned_to_the_predictions: "test_list",
    better_accuracy: "scores",
    better_predictions: "scores",
    narrower_interval: "intervals",
    another_temperature: "blocks",
    thresholds_of_the_test: "thresholds",
    seed_removed: "missing_seed",
    seed_left_out_of_the_table: "left_out",
    looked_at_the_test_early: "read_early",
    another_version: "versions",
    other_weights: "weights",
    edited_summary_csv: "table",
    edited_summary_json: "table",
    edited_markdown: "table",
    failed_run_in_the_table: "failed_in_table",
    predictions_removed: "missing_file",
}


@pytest.mark.parametrize("plant", FRAUDS, ids=lambda plant: plant.__name__)
def test_a_planted_fraud_is_found(honest, tmp_path, plant):
    shutil.copytree(honest.parent, tmp_path / "copy")
    output = tmp_path / "copy" / "output"
    for config in output.rglob("results.json"):  # the images of the copy, not of the original
        edit_json(config, lambda r: r["runtime"].update(data_root=str(tmp_path / "copy" / "data")))
    plant(run_folder(output, 2))
    wanted = FRAUDS[plant]
    found = audit(output, full=None if wanted in ("intervals", "blocks") else 0).findings
    assert wanted in {f.kind for f in found if f.severity != NOTE}
    if wanted in ("intervals", "scores", "blocks", "thresholds", "read_early", "config_hash"):
        places = {f.where for f in found if f.kind == wanted}
        assert places == {f"{DATASET}/{TRAINER}/none/default/shots_2/seed_2"}


def test_a_declared_image_split_is_a_note(honest, tmp_path):
    output = tmp_path / "output"
    shutil.copytree(honest, output)
    patient_in_two_parts(run_folder(output, 2))
    edit_json(run_folder(output, 2) / "split.json", lambda s: s.update(by="image"))
    assert "patient_leak" in kinds(output)  # its own word alone declares nothing
    edit_text(run_folder(output, 2) / "config.yaml", "SPLIT_BY: patient", "SPLIT_BY: image")
    assert "patient_leak" not in kinds(output)


def test_a_summary_of_other_runs_does_not_make_results_md_a_liar(honest, tmp_path):
    output = tmp_path / "output"
    shutil.copytree(honest, output)
    edit_text(output / "summary.json", DATASET, "AnotherDataset")
    found = [f for f in audit(output, full=0).findings if f.kind == "table"]
    assert found and {f.where.rpartition("/")[2] for f in found} == {"summary.json"}


def test_a_missing_seed_is_called_a_seed(honest, tmp_path):
    output = tmp_path / "output"
    shutil.copytree(honest, output)
    shutil.rmtree(run_folder(output, 2))
    [found] = [f for f in audit(output, full=0).findings if f.kind == "missing_seed"]
    assert found.text.endswith("no finished run of seed 2")


def test_a_finding_is_one_line_in_a_pipe(honest, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    output = tmp_path / "output"
    shutil.copytree(honest, output)
    looked_at_the_test_early(run_folder(output, 1))
    assert cli_main(tool.main, [str(output), "--full", "0"]) == 1
    [line] = [line for line in capsys.readouterr().out.splitlines() if " read_early " in line]
    assert f"{DATASET}/{TRAINER}/none/default/shots_2/seed_1 " in line


@pytest.mark.parametrize("word", [{"shots_by": "patient"}, {"scenario": "natural"}])
def test_a_split_does_not_excuse_itself_from_the_count_of_shots(honest, tmp_path, word):
    output = tmp_path / "output"
    shutil.copytree(honest, output)
    edit_json(run_folder(output, 2) / "split.json", lambda s: s.update(word))
    told = [f.text for f in audit(output, full=0).findings if f.kind == "identity"]
    assert any(text.startswith(f"split.json says {next(iter(word))}") for text in told)


@pytest.mark.parametrize("name", ["summary.csv", "results.md"])
def test_tables_that_another_program_saved(honest, tmp_path, name):
    output = tmp_path / "output"
    shutil.copytree(honest, output)
    path = output / name
    whole = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + whole + b"\n\n")  # as Excel and editors do
    assert kinds(output) == set()
    path.write_bytes(whole + "é\n".encode("cp1252"))
    [found] = [f for f in audit(output, full=0).findings if f.severity != NOTE]
    assert (found.kind, found.where) == ("unreadable", name)


def test_only_centres_of_a_federation_may_be_split_apart(honest, tmp_path):
    """A variant that is called as the folders are does not make a run a centre's."""
    output = tmp_path / "output"
    shutil.copytree(honest, output)
    folder = run_folder(output, 2)
    results = results_of(folder) | {"variant": f"{folder.parent.name}-{folder.name}"}
    write_results(folder, results | {"split_hash": "0" * 64})
    assert "split_differs" in kinds(output)


def test_runs_without_hashes_of_draws_are_not_compared_by_them(honest, tmp_path):
    """A data set that is written in Dassl's own way keeps none."""
    output = tmp_path / "output"
    shutil.copytree(honest, output)
    for seed in (1, 2, 3):
        folder = run_folder(output, seed)
        write_results(folder, results_of(folder) | {"draw_hash": None})
    assert "split_differs" not in kinds(output)


def test_notes_below_a_table_may_be_in_an_earlier_versions_words(honest, tmp_path):
    output = tmp_path / "output"
    shutil.copytree(honest, output)
    edit_text(output / "results.md", "few patients (fewer than 20", "fewer than 20 patients (or")
    assert "table" not in kinds(output)


def test_the_command(honest, tmp_path, capsys):
    out = tmp_path / "audit.json"
    assert cli_main(tool.main, [str(honest), "--full", "0", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["findings"] == []
    assert "nothing found" in capsys.readouterr().out
    output = tmp_path / "output"
    shutil.copytree(honest, output)
    looked_at_the_test_early(run_folder(output, 1))
    assert cli_main(tool.main, [str(output), "--full", "0"]) == 1
    assert "read_early" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, words",
    [(["/no/such"], "/no/such"), ([], "name a folder"), ([".", "--full", "x"], "--full is x")],
)
def test_errors_are_one_line(argv, words, capsys):
    assert cli_main(tool.main, argv) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_threads_and_devices_within_a_table_are_noted(honest, tmp_path):
    shutil.copytree(honest.parent, tmp_path / "copy")
    output = tmp_path / "copy" / "output"
    for seed, threads in ((1, 2), (2, 1), (3, 2)):
        path = run_folder(output, seed) / "results.json"
        edit_json(path, lambda r, n=threads: r["runtime"].update(device="cpu", threads=n))
    [found] = [f for f in audit(output, full=0).findings if f.kind == "machines"]
    assert found.severity == NOTE and "1 thread here, 2 threads in" in found.text
    assert found.where.endswith("seed_2")


@pytest.mark.slow
def test_a_thousand_honest_runs_pass_in_half_a_minute(tmp_path):
    write_honest(tmp_path, seeds=range(1, 21))
    output = tmp_path / "output"
    first = output / DATASET / TRAINER
    for n in range(2, 51):
        name = f"{TRAINER}{n}"
        shutil.copytree(first, output / DATASET / name)
        for run in (output / DATASET / name).rglob("seed_*"):
            _rename(run, name)
    write_tables(output)
    start, cpu = time.perf_counter(), time.process_time()
    report = audit(output)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert report.runs == 1000 and list(report.findings) == []
    print(f"audit of 1,000 runs: {seconds:.1f} s, {cpu:.1f} s of CPU time")
    assert cpu < 30  # what other processes take says nothing of the audit


def _rename(run, name):
    """A run of another method: its configuration, hash and results say so."""
    from cerviclip.runs.settings.config_hash import config_hash
    from dassl.config import read_yaml

    edit_text(run / "config.yaml", f"NAME: {TRAINER}\n", f"NAME: {name}\n")
    results = results_of(run)
    results["trainer"] = name
    results["config_hash"] = config_hash(read_yaml(run / "config.yaml", "config file"))
    write_results(run, results)


@pytest.mark.parametrize("key", ["split_hash", "draw_hash", "weights_sha256"])
def test_results_without_a_key_are_named(honest, tmp_path, key):
    shutil.copytree(honest, tmp_path / "out")
    edit_json(run_folder(tmp_path / "out", 2) / "results.json", lambda r: r.pop(key))
    found = [f for f in audit(tmp_path / "out", full=0).findings if f.kind == "unreadable"]
    assert [f.text for f in found] == [f"it lacks the key '{key}'"] and "seed_2" in found[0].where


def test_a_copied_run_hides_no_edited_table(honest, tmp_path):
    shutil.copytree(honest.parent, tmp_path / "copy")
    output = tmp_path / "copy" / "output"
    shutil.rmtree(run_folder(output, 3))
    shutil.copytree(run_folder(output, 2), run_folder(output, 3))
    edited_markdown(run_folder(output, 2))
    found = [f.text for f in audit(output, full=0).findings if f.where == "results.md"]
    assert any("97.5 ± 0.3" in text for text in found)


def test_every_wrong_line_of_a_table_is_counted(honest, tmp_path):
    shutil.copytree(honest.parent, tmp_path / "copy")
    path = tmp_path / "copy" / "output" / "results.md"
    lines = [x for x in path.read_text().splitlines() if x.startswith(f"| test | {TRAINER}")]
    text = path.read_text()
    for number, line in enumerate(lines[:2]):  # one in each of two tables
        text = text.replace(line, f"| test | {TRAINER} | {90 + number}.5 ± 0.3 |", 1)
    path.write_text(text.replace("|---|---|---:|\n", "|---|---|---:|\n| test | None | 99.9 |\n", 1))
    found = [f.text for f in audit(path.parent, full=0).findings if f.where == "results.md"]
    assert len(found) == 2 and "(and 1 more)" in found[0] and "91.5 ± 0.3" in found[1]


def test_findings_name_what_there_is_and_hashes_by_their_first_digits(honest, tmp_path):
    shutil.copytree(honest.parent, tmp_path / "copy")
    output = tmp_path / "copy" / "output"
    predictions_of_part_of_the_test(run_folder(output, 2))
    edit_json(run_folder(output, 3) / "results.json", lambda r: r.update(draw_hash="0" * 64))
    text = {f.kind: f.text for f in audit(output, full=0).findings if f.kind != "split_differs"}
    assert "missing of test" in text["test_list"] and " 0 " not in text["test_list"]
    assert "draw_hash is '000000000000...' in results.json and '" in text["identity"]
    assert max(map(len, text["identity"].split())) < 20
