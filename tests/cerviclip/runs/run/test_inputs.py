"""A mistyped name or value is said as such, also where a folder holds a run already."""

from __future__ import annotations

import re

import pytest
from data_fixtures import write_oct
from run_fixtures import asked, whole_results

from cerviclip.runs.results_json import write_results
from cerviclip.runs.settings.configure import setup_cfg
from dassl.errors import cli_main
from helpers import write_images
from train import main

PATTERN = ("DATASET.PATIENT_PATTERN", r"(P\d{7})")
MISTAKES = [
    ({"--backbone": "PhantomClipp"}, (), "no backbone 'PhantomClipp'.*PhantomCLIP"),
    ({"--backbone": "torchvision:resnat18"}, (), "torchvision has no model.*resnet18"),
    ({}, ("DATASET.PATIENT_PATTERN", "(P["), r"\(P\[.*no valid regex"),
    ({}, ("DATASET.PATIENT_PATTERN", "(Q[0-9]+)"), "file names of FolderDataset hold no patient"),
    ({}, ("DATASET.POSITIVE", "('HSIL',)"), 'POSITIVE names "HSIL".*benign, malign'),
    ({}, ("DATASET.EXTERNAL_FOLDERS.B", "nowhere"), "EXTERNAL_FOLDERS.B: there is no folder"),
]


@pytest.fixture
def words(tmp_path):
    """The words of a run whose folder holds a finished one of other settings."""
    write_images(tmp_path / "mine", {"benign": 12, "malign": 12}, patients=6, size=8)
    flags = {
        "--trainer": "LinearProbe", "--dataset": "FolderDataset", "--root": str(tmp_path),
        "--backbone": "PhantomCLIP", "--shots": "2", "--output-dir": str(tmp_path / "run"),
    }  # fmt: skip

    def words_of(changed, opts=()):
        spoken = [word for pair in (flags | changed).items() for word in pair]
        return [*spoken, "DATASET.FOLDER", "mine", *PATTERN, *opts]

    cfg = setup_cfg(asked(words_of({})))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(cfg.dump())
    write_results(tmp_path / "run", whole_results())
    return words_of


@pytest.mark.parametrize("changed, opts, message", MISTAKES)
@pytest.mark.parametrize("again", [(), ("--resume",)], ids=["train", "resume"])
def test_what_is_mistyped_is_named(words, tmp_path, capsys, changed, opts, message, again):
    resume = [*again, str(tmp_path / "run")] if again else []
    assert cli_main(main, [*resume, *words(changed, opts)]) == 2
    said = capsys.readouterr()
    assert re.search(message, said.err) and "another configuration" not in said.err
    assert said.err.count("\n") == 1 and not said.out


def test_right_names_and_other_values_are_another_configuration(words, capsys):
    assert cli_main(main, words({"--shots": "3"})) == 2
    said = capsys.readouterr()
    assert "another configuration: DATASET.NUM_SHOTS (2 -> 3)" in said.err and not said.out
    assert "--variant" in said.err


def test_a_sweep_says_it_too(words, tmp_path, capsys):
    import run_shell

    spoken = words({})
    spoken[spoken.index("--output-dir") + 1] = str(tmp_path / "out")
    cfg = setup_cfg(asked([*spoken[:10], *spoken[12:]]))
    folder = tmp_path / "out" / cfg.OUTPUT_DIR.partition("output/")[2]
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(cfg.dump())
    write_results(folder, whole_results())
    flags = ["--datasets", "FolderDataset", "--trainers", "LinearProbe", "--shots", "2"]
    flags += ["--seeds", "1", "--backbone", "PhantomCLIP", "--external", "--root", str(tmp_path)]
    flags += ["--output-dir", str(tmp_path / "out"), "--opts", "DATASET.FOLDER", "mine"]
    for opts, message in (
        (("DATASET.PATIENT_PATTERN", "(Q[0-9]+)"), "hold no patient"),
        ((*PATTERN, "OPTIM.LR", "0.5"), "another configuration: OPTIM.LR"),
    ):
        assert cli_main(run_shell.main, [*flags, *opts]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("trainer", ["TipAdapter", "LinearProbe", "CoOp"])
def test_a_data_set_that_is_only_tested_on_trains_nothing(tmp_path, capsys, trainer):
    """Some methods gave the zero-shot scores under their own name."""
    write_oct(tmp_path)
    flags = ["--trainer", trainer, "--dataset", "HuaxiOCT", "--root", str(tmp_path)]
    flags += ["--backbone", "PhantomCLIP", "--output-dir", str(tmp_path / "run")]
    assert cli_main(main, flags) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"error: HuaxiOCT has no training images, and {trainer} trains")
    assert not (tmp_path / "run").exists()


def test_a_cnn_without_a_name_asks_for_one(tmp_path, capsys):
    write_images(tmp_path / "mine", {"benign": 12, "malign": 12}, patients=6, size=8)
    flags = ["--trainer", "CNNBaseline", "--dataset", "FolderDataset", "--root", str(tmp_path)]
    flags += ["--output-dir", str(tmp_path / "run"), "DATASET.FOLDER", "mine", *PATTERN]
    assert cli_main(main, flags) == 2
    assert "no backbone is named; --backbone NAME" in capsys.readouterr().err


def test_a_data_set_that_is_only_tested_on_can_be_evaluated_and_built(tmp_path, capsys):
    write_oct(tmp_path)
    flags = ["--trainer", "LinearProbe", "--root", str(tmp_path), "--backbone", "PhantomCLIP"]
    trained = ["--dataset", "MixedCenterOCT", "--shots", "2", "--output-dir", str(tmp_path / "run")]
    assert cli_main(main, [*flags, *trained, "TEST.EXTERNAL", "[]"]) == 0
    tested = ["--dataset", "HuaxiOCT", "--output-dir", str(tmp_path / "eval")]
    model = ["--eval-only", "--model-dir", str(tmp_path / "run")]
    assert cli_main(main, [*flags, *tested, *model, "TEST.EXTERNAL", "[]"]) == 0
    assert "test: 30 images" in capsys.readouterr().out
    built = [*tested[:-1], str(tmp_path / "built"), "--no-train", "TEST.EXTERNAL", "[]"]
    assert cli_main(main, [*flags, *built]) == 0
