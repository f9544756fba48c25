"""Every trainer's yaml: its head's commands build and say what to expect; it says what differs."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from cases import trainer_cases

from cerviclip.places import CONFIGS
from cerviclip.runs.settings.configure import trainer_yaml
from dassl.config import get_cfg_default, layers_of, merge_file

FOLDER = CONFIGS / "trainers"
YAMLS = [path for path in sorted(FOLDER.glob("*/*.yaml")) if not path.parent.name.startswith("_")]
BASES = sorted((FOLDER / "_base_").glob("*.yaml"))
COMMAND = re.compile(r"^# *((?:python train\.py|cerviclip train) .*)$", re.MULTILINE)


def title(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def head(path: Path) -> str:
    """The comments before the first setting."""
    return re.split(r"^[^#\n]", path.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)[0]


def commands(path: Path) -> list[list[str]]:
    """The words after ``python train.py`` of each command in the head."""
    lines = [shlex.split(line) for line in COMMAND.findall(head(path))]
    return [words[2:] for words in lines]


def test_there_are_yamls_for_every_trainer():
    assert len(YAMLS) > 15 and BASES
    wanted = {name for name, case in trainer_cases().items() if not case.second_name_of}
    without = wanted - {path.parent.name for path in YAMLS}
    assert not without, f"write configs/trainers/<trainer>/<backbone>.yaml for {sorted(without)}"


@pytest.mark.parametrize("path", YAMLS, ids=title)
def test_every_command_of_the_head_builds_with_this_yaml(path, cfg_of, clip_file, tmp_path):
    assert head(path).startswith(("# python train.py ", "# cerviclip train "))
    for words in commands(path):
        words = [word.replace("$DATA", str(tmp_path)) for word in words]
        if "--weights" in words:
            words[words.index("--weights") + 1] = str(clip_file)
        cfg = cfg_of(words)
        assert cfg.TRAINER.NAME == path.parent.name
        if "--config-file" not in words:
            assert trainer_yaml(cfg.TRAINER.NAME, cfg.MODEL.BACKBONE.NAME) == path


@pytest.mark.parametrize("path", YAMLS, ids=title)
def test_the_head_says_what_to_expect_or_why_nothing_is_known(path):
    text = head(path)
    if re.search("Not run here: needs the weights", text):
        return
    assert re.search(r"Expect .*\d %", text), "the head gives no number to expect"
    assert re.search(r"\d (s|min)\b", text), "the head gives no wall time"
    assert re.search(r"\d{4}-\d\d-\d\d, .*torch \d", text), "the head gives no date and hardware"


@pytest.mark.parametrize("path", BASES, ids=title)
def test_every_base_is_used_and_holds_no_trainers_section(path):
    users = [yaml for yaml in YAMLS if path in [file.path.resolve() for file in layers_of(yaml)]]
    assert users, "no yaml builds on it"
    assert all("TRAINER" not in file.tree for file in layers_of(path))
    merge_file(get_cfg_default(), path)


# What the reference codes' own yaml files have, and none of it is the base's: trainer, commit, key.
PUBLISHED = [
    ("TCP", "htyao89/Textual-based_Class-aware_prompt_tuning@bd97bec", "OPTIM.NAME", "adam"),
    ("MMA", "ZjjConan/VLM-MultiModalAdapter@c3d0bc2", "OPTIM.WARMUP_EPOCH", 0),
    ("IVLP", "muzairkhattak/PromptSRC@bb95c77", "OPTIM.MAX_EPOCH", 20),
    ("IVLP", "muzairkhattak/PromptSRC@bb95c77", "TRAINER.IVLP.PROMPT_DEPTH_TEXT", 9),
    # 1 over the root of R, where ours divides by R.
    ("CLIPLoRA", "MaxZanella/CLIP-LoRA@358f0d7", "TRAINER.CLIPLORA.ALPHA", 1.414),
    ("PromptSRC", "muzairkhattak/PromptSRC@bb95c77", "OPTIM.WARMUP_EPOCH", 1),
    (
        *("BiomedCoOp", "HealthX-Lab/BiomedCoOp@7ceb5a8", "INPUT.TRANSFORMS"),
        ["random_resized_crop", "normalize"],
    ),
]


@pytest.mark.parametrize("trainer, source, key, value", PUBLISHED)
def test_a_recipe_that_is_called_published_is_the_one_of_the_code(
    trainer, source, key, value, cfg_of, clip_file
):
    words = [*("--trainer", trainer, "--dataset", "PhantomOCT"), *("--shots", "1", "--seed", "1")]
    found = cfg_of([*words, "--backbone", "ViT-B/16", "--weights", str(clip_file)])
    for part in key.split("."):
        found = found[part]
    assert (list(found) if isinstance(found, (list, tuple)) else found) == value, source


def settings(path: Path) -> list[str]:
    """Its lines that set a value, without comments and quotes."""
    lines = [line.split(" #")[0].strip() for line in path.read_text("utf-8").splitlines()]
    lines = [line.replace('"', "") for line in lines if line and not line.startswith("#")]
    return [line for line in lines if not line.endswith(":") and not line.startswith("_BASE_")]


def test_a_setting_that_many_trainers_share_stands_in_a_base():
    """So a yaml reads as what is its own. A few equal lines are chance: each of five trainers
    that needs PREC bf16 says so for its own section."""
    lines = [line for path in YAMLS for line in set(settings(path))]
    assert len(lines) > 50
    often = [line for line, n in Counter(lines).items() if n >= len(YAMLS) // 3]
    assert not often, f"move to configs/trainers/_base_: {often}"


def test_settings_borrowed_from_another_backbone_leave_its_precision(cfg_of, flags):
    def prec(*more: str) -> str:
        return cfg_of([*flags("CLIPLoRA"), *more]).TRAINER.CLIPLORA.PREC

    assert prec() == "fp32"
    assert prec("TRAINER.CLIPLORA.PREC", "bf16") == "bf16"
