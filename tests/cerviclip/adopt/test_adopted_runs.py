"""Adopted runs from their flags to their results, each in a process of its own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from adopt_fixtures import write_repository

from cerviclip import plugins
from cerviclip.cli import main

pytestmark = pytest.mark.slow
PLUGIN = Path(__file__).parents[2] / "plugin_zoo.py"
YAML = "configs/trainers/Habits/vit_b16_ep1.yaml"


@pytest.fixture(autouse=True)
def no_plugins():
    plugins.reset_plugins()
    yield
    plugins.reset_plugins()


def flags(repo, weights, root, adopt="Habits={repo}"):
    words = ["--adopt", adopt.format(repo=repo), "--weights", str(weights), "--root", str(root)]
    return [*words, "--plugin", str(PLUGIN)]


def results(folder):
    return json.loads((Path(folder) / "results.json").read_text())


def test_the_command_lists_what_runs(repo, capsys):
    assert main(["adopt", str(repo), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    by_name = {entry["name"]: entry for entry in found["trainers"]}
    assert {name for name, entry in by_name.items() if entry["runs"]} == {
        "BaseOnly", "Habits", "OwnTest", "ZeroShot",
    }  # fmt: skip
    line = "trainers/broken.py, line 2: imports dassl.engine.of_a_fork, which our dassl does not"
    assert by_name["Broken"]["error"].startswith(line)
    assert by_name["Habits"]["keys"] == {"TRAINER.HABITS.DESCRIPTIONS": "descriptions"} | (
        {"TRAINER.HABITS.PREC": "fp16"}
    )
    assert any("wandb_of_nobody, which is not installed" in note for note in found["notes"])
    assert "train.py sets topk from --topk: 7" in found["notes"]
    assert any("TrainerX.step_of_a_fork: taken from there" in note for note in found["notes"])


@pytest.fixture(scope="module")
def swept(repo, weights, tmp_path_factory):
    """A sweep of one of ours and three of theirs; the second time nothing is left to do."""
    root = tmp_path_factory.mktemp("swept")
    (root / "zoo.yaml").write_text(
        "datasets: [ZooMain]\ntrainers: [ZooLinear]\nshots: [2]\nseeds: [1, 2]\n"
        "backbone: RN50\nexternal: [ZooFar]\n"
        f"adopt: ['Habits={repo}']\nopts: {{INPUT.SIZE: [8, 8], OPTIM.MAX_EPOCH: 1, "
        "DATALOADER.NUM_WORKERS: 0, DATALOADER.TRAIN_X.BATCH_SIZE: 4}\n"
    )
    more = ["--adopt", f"theirs={repo}:OwnTest:{YAML}", "--adopt", f"ZeroShot={repo}"]
    argv = ["sweep", "--sweep", str(root / "zoo.yaml"), "--weights", str(weights), "--root"]
    argv += [str(root), "--plugin", str(PLUGIN), "--output-dir", str(root / "out"), *more]
    plugins.reset_plugins()
    assert main(argv) == 0
    return root, argv


def runs_of(root):
    return [results(path.parent) for path in sorted(root.glob("out/ZooMain/**/results.json"))]


def test_one_table_with_our_split_draw_centers_and_intervals(swept, repo):
    root, _ = swept
    runs = runs_of(root)
    names = {run["trainer"] for run in runs}
    assert names == {"ZooLinear", "Habits@adopted", "theirs@adopted", "ZeroShot@adopted"}
    assert {run["status"] for run in runs} == {"done"}
    assert len({run["split_hash"] for run in runs}) == 1
    for seed in (1, 2):
        assert len({r["draw_hash"] for r in runs if r["seed"] == seed}) == 1
    theirs = [run for run in runs if run["trainer"] == "Habits@adopted"]
    assert set(theirs[0]["centers"]) == {"test", "ZooFar"}
    entry = theirs[0]["centers"]["test"]["accuracy"]
    assert entry["low"] < entry["high"]
    assert theirs[0]["adopted"]["trainer"] == "Habits" and not theirs[0]["test_read_early"]
    assert len(theirs[0]["adopted"]["files_sha256"]) == 64 and theirs[0]["weights_sha256"]
    assert next(r for r in runs if r["trainer"] == "ZooLinear").get("adopted") is None
    notes = theirs[0]["runtime"]["trainer"]["adopted"]
    assert any("got an entry for ZooMain" in note for note in notes)
    table = (root / "out/results.md").read_text()
    assert all(name in table for name in names)


def test_their_code_never_sees_a_test_label(swept):
    """Their model says the label that it is told. Told nothing but 0, it says class 0."""
    root, _ = swept
    for trainer in ("Habits-adopted", "theirs-adopted"):
        (path, *_) = sorted(root.glob(f"out/ZooMain/{trainer}/**/predictions.csv"))
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert len({row["label"] for row in rows}) > 1
        assert len({row["prediction"] for row in rows}) == 1


def test_code_that_trains_on_base_classes_is_told_that_ours_are_those(
    repo, weights, tmp_path, capsys
):
    adopt = f"BaseOnly={{repo}}:BaseOnly:{YAML}"
    argv = ["train", *flags(repo, weights, tmp_path, adopt), "--dataset", "ZooMain", "--shots", "1"]
    argv += ["--output-dir", str(tmp_path / "run"), "TEST.EXTERNAL", "[]"]
    assert main(argv) == 1
    assert "try ADOPT.SUBSAMPLE_CLASSES base" in capsys.readouterr().err
    assert main([*argv, "ADOPT.SUBSAMPLE_CLASSES", "base"]) == 0
    done = results(tmp_path / "run")
    rows = list(csv.DictReader((tmp_path / "run/predictions.csv").read_text().splitlines()))
    assert done["status"] == "done" and len({row["label"] for row in rows}) == 3  # no half of them


def test_finished_runs_are_skipped(swept, capsys):
    _, argv = swept
    assert main(argv) == 0
    assert "are finished" in capsys.readouterr().out


def test_a_change_of_their_files_is_another_run(weights, tmp_path, capsys):
    repo = write_repository(tmp_path / "repo")
    argv = ["train", *flags(repo, weights, tmp_path), "--dataset", "ZooMain", "--shots", "1"]
    argv += ["--output-dir", str(tmp_path / "run"), "TEST.EXTERNAL", "[]"]
    assert main(argv) == 0 and results(tmp_path / "run")["status"] == "done"
    assert (tmp_path / "run/adapter/model.pth.tar-1").is_file()
    evaluated = [*argv[:-4], "--eval-only", "--model-dir", str(tmp_path / "run")]
    assert main([*evaluated, "--output-dir", str(tmp_path / "again")]) == 0
    assert results(tmp_path / "again")["centers"] == results(tmp_path / "run")["centers"]
    (repo / "utils.py").write_text("MARK = 'theirs'  # and more\n")
    plugins.reset_plugins()
    capsys.readouterr()
    assert main(argv) == 2
    assert "ADOPT.FILES" in capsys.readouterr().err


def test_what_cannot_be_imported_is_said_before_anything_runs(repo, weights, tmp_path, capsys):
    adopt = f"Broken={repo}:Broken:{YAML}"
    argv = ["train", *flags(repo, weights, tmp_path, adopt), "--dataset", "ZooMain"]
    assert main([*argv, "--shots", "1", "--output-dir", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "trainers/broken.py, line 2: imports dassl.engine.of_a_fork" in line
    assert not (tmp_path / "run").exists()


def test_missing_weights_are_asked_for(repo, weights, tmp_path, capfd):
    argv = ["train", *flags(repo, weights, tmp_path), "--dataset", "ZooMain", "--shots", "1"]
    at = argv.index("--weights")
    del argv[at : at + 2]
    assert main([*argv, "--output-dir", str(tmp_path / "run")]) == 2
    assert "give them by --weights" in capfd.readouterr().err
