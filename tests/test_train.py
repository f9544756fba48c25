"""``train.py`` as a user types it: help, list, one run, evaluation, errors and exit statuses."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
from run_fixtures import zoo

import train
from cerviclip.cli import main as cerviclip_main
from cerviclip.plugins import reset_plugins
from cerviclip.runs.results_json import KEYS
from dassl.errors import cli_main

__all__ = ["zoo"]
HEAVY = {"torch", "torchvision", "pandas", "sklearn", "matplotlib", "numpy", "scipy"}


def call(argv):
    return cli_main(train.main, argv)


@pytest.mark.parametrize("flag", ["--help", "--list"])
def test_help_and_list_import_nothing_heavy(flag, repo_dir):
    code = (
        "import sys, train\n"
        "try: train.main([sys.argv[1]])\n"
        "except SystemExit: pass\n"
        "print('MODULES', *sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, flag], capture_output=True, text=True, cwd=repo_dir, check=True
    )
    text, _, modules = done.stdout.partition("MODULES")
    assert not HEAVY & set(modules.split())
    words = ("--eval-only", "results.json") if flag == "--help" else ("CoOp", "PhantomOCT", "RN50")
    assert all(word in text for word in words)


def test_help_names_every_flag_of_coop():
    from cerviclip.runs.settings.flags import train_parser

    text = train_parser().format_help()
    for flag in (
        "root output-dir resume seed source-domains target-domains transforms config-file "
        "dataset-config-file trainer backbone head eval-only model-dir load-epoch no-train shots "
        "weights plugin list debug"
    ).split():
        assert f"--{flag} " in text or f"--{flag}\n" in text, flag


def test_list_is_whole_where_it_is_no_terminal_that_shows_it(zoo, capsys, monkeypatch):
    assert call(["--list"]) == 0
    whole = capsys.readouterr().out.splitlines()
    assert max(map(len, whole)) > 100 and not any(line.endswith("...") for line in whole)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    assert call(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40 and any(line.endswith("...") for line in lines)


def test_list_shows_plugins_too(zoo, capsys):
    assert call(["--list", *zoo.common]) == 0
    printed = capsys.readouterr().out
    assert "ZooLinear" in printed and "plug-in" in printed


def test_one_run_and_its_evaluation_agree_to_the_last_digit(zoo, capsys):
    out = zoo.out / "run"
    assert call(zoo.argv("ZooLinear", "2", "--output-dir", str(out))) == 0
    own = json.loads((out / "results.json").read_text())
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert call([*zoo.common, "--eval-only", "--model-dir", str(out)]) == 0
    [folder] = (out / "eval").iterdir()
    assert folder.name.endswith("Z") and (folder / "predictions.csv").is_file()
    again = json.loads((folder / "results.json").read_text())
    assert tuple(again) == KEYS
    assert {k: v for k, v in again.items() if k != "runtime"} == {
        k: v for k, v in own.items() if k != "runtime"
    }
    for name in ("predictions.csv", "val_predictions.csv"):
        assert (folder / name).read_bytes() == before[out / name]
    assert {p: p.read_bytes() for p in before} == before
    assert str(folder / "results.json") in capsys.readouterr().out


def test_a_run_ends_with_the_command_that_predicts_by_it(zoo, capsys):
    call(zoo.argv("ZooLinear", "2", "--output-dir", str(zoo.out / "a run")))
    (line,) = [
        line.removeprefix("to predict new images: ")
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("to predict new images: ")
    ]
    image = next(zoo.root.rglob("*.png"))
    words = shlex.split(line.replace("IMAGES", str(image)))
    assert words[:3] == ["cerviclip", "predict", str(zoo.out / "a run")]
    reset_plugins()
    assert cerviclip_main(words[1:]) == 0
    assert f"{image}: " in capsys.readouterr().out
    reset_plugins()
    assert cerviclip_main(words[1 : words.index("--plugin")]) == 2
    assert "--plugin FILE.py" in capsys.readouterr().err


def test_evaluation_elsewhere_with_other_centers_and_epochs(zoo):
    out = zoo.out / "run"
    assert (
        call(zoo.argv("ZooLinear", "2", "--output-dir", str(out), TRAIN__CHECKPOINT_FREQ="1")) == 0
    )
    flags = ["--eval-only", "--model-dir", str(out), "--output-dir", str(zoo.out / "other")]
    assert call([*zoo.common, *flags, "--load-epoch", "1", "TEST.EXTERNAL", "[]"]) == 0
    other = json.loads((zoo.out / "other" / "results.json").read_text())
    assert list(other["centers"]) == ["test"]
    assert not (out / "eval").exists()
    own = json.loads((out / "results.json").read_text())
    assert other["centers"]["test"]["ece"] != own["centers"]["test"]["ece"]


def test_evaluation_never_replaces_the_results_of_another_run(zoo, capsys):
    one, two = zoo.out / "one", zoo.out / "two"
    for folder in (one, two):
        assert call(zoo.argv("ZooLinear", "2", "--output-dir", str(folder))) == 0
    before = (two / "results.json").read_bytes()
    flags = ["--eval-only", "--model-dir", str(one), "--output-dir", str(two)]
    capsys.readouterr()
    assert call([*zoo.common, *flags]) == 2
    assert f"--output-dir {two} holds a run" in capsys.readouterr().err
    assert (two / "results.json").read_bytes() == before


def test_evaluation_that_fails_leaves_the_run_as_it_was(zoo, capsys):
    out = zoo.out / "run"
    assert call(zoo.argv("ZooLinear", "2", "--output-dir", str(out))) == 0
    before = sorted(p.name for p in out.iterdir())
    capsys.readouterr()
    assert call([*zoo.common, "--eval-only", "--model-dir", str(out), "--load-epoch", "77"]) == 2
    assert "model.pth.tar-77" in capsys.readouterr().err
    assert sorted(p.name for p in out.iterdir()) == before
    shutil.rmtree(out / "model")
    assert call([*zoo.common, "--eval-only", "--model-dir", str(out)]) == 2


@pytest.mark.parametrize("state", ["failed", "unfinished"])
def test_evaluation_of_a_run_that_is_not_done_needs_an_epoch(zoo, capsys, state):
    out = zoo.out / "run"
    assert call(zoo.argv("ZooLinear", "2", "--output-dir", str(out))) == 0
    results = json.loads((out / "results.json").read_text())
    (out / "results.json").unlink()
    if state == "failed":
        (out / "results.json").write_text(json.dumps(results | {"status": state}))
    capsys.readouterr()
    flags = ["--eval-only", "--model-dir", str(out)]
    assert call([*zoo.common, *flags]) == 2
    error = capsys.readouterr().err
    assert f"{out} holds a run that is {state}" in error and error.strip().count("\n") == 0
    assert not (out / "eval").exists()
    assert call([*zoo.common, *flags, "--load-epoch", "2"]) == 0


def test_evaluation_with_another_backbone_is_refused(zoo, capsys):
    """A learned prompt fits any text tower of its width."""
    out = zoo.out / "run"
    assert call(zoo.argv("ZooLinear", "2", "--output-dir", str(out))) == 0
    results = json.loads((out / "results.json").read_text())
    (out / "results.json").write_text(json.dumps(results | {"weights_sha256": "0" * 64}))
    weights = zoo.root / "other.pt"
    weights.write_bytes(b"other weights")
    flags = ["--eval-only", "--model-dir", str(out), "--weights", str(weights)]
    capsys.readouterr()
    assert call([*zoo.common, *flags]) == 2
    error = capsys.readouterr().err
    assert f"{out}: the run's backbone has weights 00000000" in error
    assert error.strip().count("\n") == 0 and not (out / "eval").exists()


def test_evaluation_stores_features_as_the_run_did(zoo, capsys, monkeypatch):
    out = zoo.out / "run"
    assert call(zoo.argv("ZooLinear", "2", "--output-dir", str(out))) == 0
    monkeypatch.setenv("CERVICLIP_STORE_DTYPE", "bfloat16")
    assert call([*zoo.common, "--eval-only", "--model-dir", str(out)]) == 2
    assert "CERVICLIP_STORE_DTYPE=float16" in capsys.readouterr().err


def test_default_folder_is_the_contracts(zoo, monkeypatch, capsys):
    monkeypatch.chdir(zoo.root)
    assert call(zoo.argv("ZooLinear", "2", "--seed", "3", "--variant", "mine")) == 0
    path = "output/ZooMain/ZooLinear/none/mine/shots_2/seed_3"
    assert json.loads((zoo.root / path / "results.json").read_text())["variant"] == "mine"
    assert f"results: {path}/results.json" in capsys.readouterr().out
    assert call(zoo.argv("ZooLinear", "2", "--seed", "3", "--variant", "mine")) == 0
    assert "finished before" in capsys.readouterr().out


def test_a_failing_run_is_status_1_with_its_traceback_in_the_log(zoo, capsys):
    out = zoo.out / "run"
    assert call(zoo.argv("ZooBroken", "2", "--output-dir", str(out))) == 1
    assert "the zoo is on fire" in capsys.readouterr().err
    assert "Traceback" in (out / "log.txt").read_text()
    assert json.loads((out / "results.json").read_text())["status"] == "failed"


@pytest.mark.parametrize("inner", ["", "deep/run"])
def test_results_that_cannot_be_written_are_status_2_in_one_line(zoo, capsys, inner):
    file = zoo.root / "file"
    file.write_text("mine")
    assert call(zoo.argv("ZooLinear", "2", "--output-dir", str(file / inner))) == 2
    error = capsys.readouterr().err
    assert f"cannot write results to {file / inner}" in error and error.strip().count("\n") == 0
    assert file.read_text() == "mine"


def test_weights_of_another_network_are_status_2_in_one_line(zoo, capsys):
    """Of a plain Dassl trainer, whose loader only warns."""
    torch.save({"state_dict": {"other.weight": torch.zeros(3)}}, zoo.root / "other.pt")
    flags = ["--output-dir", str(zoo.out), "--weights", str(zoo.root / "other.pt")]
    flags += ["--backbone", "resnet18"]
    assert call(zoo.argv("Vanilla", "2", *flags, MODEL__BACKBONE__PRETRAINED="False")) == 2
    error = capsys.readouterr().err
    assert "other.pt" in error and "--weights" in error and error.strip().count("\n") == 0
    assert not zoo.out.exists()


def test_a_truncated_image_is_status_2_in_one_line(zoo, capsys):
    out = zoo.out / "deep" / "run"
    assert call(zoo.argv("ZooLinear", "2", "--no-train", "--output-dir", str(out))) == 0
    image = next((zoo.root / "zoo" / "main" / "beta").glob("*008.png"))
    whole = image.read_bytes()
    image.write_bytes(whole[:60])
    capsys.readouterr()
    assert call(zoo.argv("ZooLinear", "2", "--output-dir", str(out))) == 2
    error = capsys.readouterr().err
    assert image.name in error and "Traceback" not in error
    assert error.startswith("error: ") and error.strip().count("\n") == 0
    assert not (out / "results.json").exists()
    image.write_bytes(whole)  # the training goes on when the image is mended
    assert call(zoo.argv("ZooLinear", "2", "--output-dir", str(out))) == 0


@pytest.mark.parametrize(
    "flags, words",
    [
        ([], "no trainer given"),
        (["--trainer", "CoOp"], "no dataset given"),
        (["--trainer", "Coop", "--dataset", "PhantomOCT"], "did you mean 'CoOp'"),
        (["--trainer", "CoOp", "--dataset", "PhantomOTC"], "did you mean 'PhantomOCT'"),
        (["--trainer", "CoOp", "--dataset", "PhantomOCT", "--shots", "x"], "'x'"),
        (["--trainer", "CoOp", "--dataset", "PhantomOCT", "--shots", ""], "not ''"),
        (["--trainer", "CoOp", "--dataset", "PhantomOCT", "TRAINER.COOP.CTX", "1"], "N_CTX"),
        (["--sots", "2"], "--sots"),
    ],
)
def test_users_errors_are_status_2_in_one_line(capsys, flags, words):
    assert call(flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.strip().count("\n") == 0 and "Traceback" not in error


def test_a_name_that_is_like_none_gets_no_suggestion(capsys):
    assert call(["--trainer", "Foo", "--dataset", "PhantomOCT"]) == 2
    error = capsys.readouterr().err
    assert "unknown trainer 'Foo' (known: " in error and "did you mean" not in error


def test_debug_shows_the_traceback():
    from dassl.errors import UserError

    with pytest.raises(UserError):
        call(["--trainer", "NoSuch", "--dataset", "PhantomOCT", "--debug"])
