"""What a run and a sweep print last: results with intervals, then the warnings on the data."""

from __future__ import annotations

import re

import pytest

import run_shell
from dassl.errors import cli_main
from helpers import write_images
from train import main

pytestmark = pytest.mark.filterwarnings("ignore:FolderDataset. 64 shots asked")
PATTERN = ("DATASET.FOLDER", "mine", "DATASET.PATIENT_PATTERN", r"(P\d{7})")
FEW = "64 shots asked, but of the training images"


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / "mine", {"benign": 12, "malign": 12}, patients=6, size=8)
    write_images(tmp_path / "other", {"benign": 1}, patients=1, size=8, seed=3)
    return tmp_path


def words(root):
    return ["--backbone", "PhantomCLIP", "--shots", "64", "--root", str(root)]


def test_of_a_run(root, capsys):
    flags = ["--dataset", "FolderDataset", "--trainer", "LinearProbe", *words(root)]
    flags += ["--output-dir", str(root / "run"), *PATTERN]
    assert cli_main(main, [*flags, "DATASET.EXTERNAL_FOLDERS.B", "other"]) == 0
    out, log = capsys.readouterr().out, (root / "run" / "log.txt").read_text()
    assert "** Config **" in log and "** Config **" not in out and "PATIENT_RULE" not in out
    lines = out.splitlines()
    last = lines[lines.index("=> result") :]
    assert last[-1] == f"results: {root / 'run' / 'results.json'}"
    assert any(re.match(r"test: .*, accuracy \d+\.\d \[\d+\.\d, \d+\.\d\] %", x) for x in last)
    assert "95 % interval by patient in brackets." in last
    assert any(x.startswith("B: 1 image, 1 patient, accuracy") for x in last)
    assert any(x.startswith("B: only 1 patient: intervals") for x in last)
    again = lines.index("1 warning on these data (also in results.json):")
    assert FEW in lines[again + 1] and again > lines.index("=> result")


def test_of_a_sweep(root, capsys):
    flags = ["--datasets", "FolderDataset", "--trainers", "LinearProbe", *words(root)]
    flags += ["--seeds", "1", "2", "--external", "--output-dir", str(root / "out")]
    assert cli_main(run_shell.main, [*flags, "--opts", *PATTERN]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"warnings on the data:\n- FolderDataset: {FEW}.*\(2 runs\)", out)
    assert re.search(
        rf"## Warnings on the data\n\n- .*{FEW}", (root / "out/results.md").read_text()
    )


def test_the_folds_of_a_data_set_are_described_once(root, capsys, monkeypatch):
    from cerviclip.runs.sweep import command

    monkeypatch.setattr(command, "make_runs", lambda *_: 0)
    flags = ["--datasets", "FolderDataset", "--trainers", "LinearProbe", *words(root), "--folds"]
    flags += ["3", "--seeds", "1", "--external", "--output-dir", str(root / "out"), "--opts"]
    assert cli_main(run_shell.main, [*flags, *PATTERN, "DATASET.EXTERNAL_FOLDERS.B", "other"]) == 0
    out = capsys.readouterr().out
    assert out.count("24 images in 2 classes") == out.count("B: 1 image in 1 class") == 1
    assert out.count("Loading dataset") == 1
