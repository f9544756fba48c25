"""What README.md shows runs as it stands: its files, its commands' flags, its links."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import torch

import train
from cerviclip.vlm.towers.cnn import torchvision_model
from dassl.errors import UserError
from helpers import write_images

REPO = Path(__file__).resolve().parent.parent
README = (REPO / "README.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", README, re.S))


COUNT = itertools.count()
STEPS = re.search(
    r"```python\n(from torch import nn\n.*?class MyHead.*?)```",
    (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    re.S,
).group(1)


@pytest.fixture
def clinic(tmp_path):
    """Flags of a run on the example's data set, which is written with it."""
    own = f"MyClinic{next(COUNT)}"  # a plug-in's names are its own in the whole process
    for name, source in {**FILES, "my_head.py": STEPS}.items():
        (tmp_path / name).write_text(source.replace("MyClinic", own))
    for label, start in (("CIN1", 0), ("CIN2", 100), ("normal", 200)):
        folder = tmp_path / "data" / "my_clinic" / label
        write_images(tmp_path / "raw" / label, {"x": 24}, seed=start)
        folder.mkdir(parents=True)
        for i, image in enumerate(sorted((tmp_path / "raw" / label / "x").iterdir())):
            image.rename(folder / f"{label}{i // 2:02d}_{i}.png")
    words = ["--plugin", str(tmp_path / "my_clinic.py"), "--dataset", own, "--shots", "4"]
    return [*words, "--root", str(tmp_path / "data"), "--output-dir", str(tmp_path / "run")]


def test_the_example_trainer_learns_on_the_example_data_set(clinic, tmp_path):
    assert set(FILES) == {"nearest_mean.py", "my_clinic.py"}
    words = [*clinic, "--plugin", str(tmp_path / "nearest_mean.py"), "--trainer", "NearestMean"]
    assert train.main([*words, "--backbone", "PhantomCLIP"]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["trainer"] == "NearestMean"
    assert results["positive_classes"] == ["CIN2"]
    assert results["centers"]["test"]["n_patients"] > 3
    weights = tmp_path / "cnn.pth"  # it uses no texts, so a CNN serves it too
    torch.save(torchvision_model("squeezenet1_0", "scratch")[0].state_dict(), weights)
    words[words.index(str(tmp_path / "run"))] = str(tmp_path / "on_a_cnn")
    words += ["--backbone", "torchvision:squeezenet1_0", "--weights", str(weights)]
    assert train.main(words) == 0


def test_contributings_method_by_steps_learns_and_is_refused_if_nothing_in_it_does(
    clinic, tmp_path, capsys
):
    file = tmp_path / "my_head.py"
    words = [*clinic, "--plugin", str(file), "--trainer", "MyHead", "--backbone", "PhantomCLIP"]
    assert train.main([*words, "OPTIM.MAX_EPOCH", "3", "OPTIM.LR", "0.002"]) == 0
    losses = [
        float(x) for x in re.findall(r"epoch \[.*? loss \S+ \((\S+?)\)", capsys.readouterr().out)
    ]
    assert len(losses) == 3 and losses[-1] < losses[0]
    still = STEPS.replace("register_learner", "register_model").replace("MyHead", "Still")
    (tmp_path / "still.py").write_text(still)
    words[words.index(str(file))] = str(tmp_path / "still.py")
    words[words.index("MyHead")] = "Still"
    words[words.index(str(tmp_path / "run"))] = str(tmp_path / "still")
    with pytest.raises(UserError, match="Still trains by steps.*register_learner"):
        train.main(words)


def test_each_method_is_in_the_row_of_what_it_learns():
    from cerviclip.plugins import discover

    table = README.partition("| kind | methods |")[2].partition("\n\n")[0]
    trainers, seen = discover()["trainer"], 0
    for row in table.splitlines()[2:]:
        kind, methods = row.strip("| ").split(" | ")
        names = re.findall(r"`(\w+)`", methods)
        assert set(names) <= set(trainers)
        if word := re.match(r"`(\w+)`", kind):
            assert {trainers[name].learns for name in names} == {word[1]}, kind
            seen += len(names)
    assert seen > 30


def test_contributing_names_every_attribute_that_a_trainer_declares():
    from cerviclip.engine.fit_once import FitOnce
    from cerviclip.engine.supervised import SupervisedStep
    from cerviclip.engine.task_trainer import TaskTrainer
    from cerviclip.engine.vlm_trainer import VLMTrainer

    page = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page.partition("### What a trainer's class declares")[2].partition("You never edit")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.M))
    kinds = (FitOnce, SupervisedStep, TaskTrainer, VLMTrainer)
    declared = {
        name
        for kind in kinds
        for name, value in vars(kind).items()
        if not name.startswith("_") and isinstance(value, (bool, int, str, tuple))
    }
    assert set(rows) - {"needs_training", "trains_in_seconds"} <= declared <= set(rows)
    for name, default in rows.items():
        usual = eval(re.match(r"`(.+?)`", default).group(1))
        assert getattr(VLMTrainer, name, False) == usual, name


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_and_pictures_are_there(target):
    assert (REPO / target).exists()


def test_the_commands_of_ci_are_the_readmes():
    command = 'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/pytest'
    assert command in README
    assert command in (REPO / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    main_job = (
        "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python run_shell.py"
    )
    assert main_job in README


def test_every_flag_that_readme_shows_exists():
    from cerviclip.runs.settings.flags import sweep_parser, train_parser

    known = set()
    for parser in (train_parser(), sweep_parser()):
        known |= {flag for action in parser._actions for flag in action.option_strings}
    tools = {
        "--format",
        "--against",
        "--centers",
        "--sheet",
        "--arch",
        "--folds",
        "--encoder",
        "--held-out",
        "--json",
        "--only",
        "--pdf",
        "--images",
    }
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert shown - tools <= known
