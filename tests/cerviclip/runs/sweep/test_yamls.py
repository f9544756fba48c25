"""Every sweep and recipe: its head's command lists its runs, and says what to expect."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import run_shell
from cerviclip.places import RECIPES, SWEEPS
from dassl.errors import cli_main
from helpers import tiny_clip_state_dict

YAMLS = sorted([*SWEEPS.glob("*.yaml"), *RECIPES.glob("*.yaml")])
COMMAND = re.compile(r"^# *((?:python run_shell\.py|cerviclip sweep).*)$", re.MULTILINE)


def head(path: Path) -> str:
    return re.split(r"^[^#\n]", path.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)[0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save_file(tiny_clip_state_dict(), path)
    return path


def test_there_are_sweeps():
    assert len(YAMLS) > 5


@pytest.mark.slow
@pytest.mark.parametrize("path", YAMLS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_command_of_the_head_lists_runs(path, weights, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in re.findall(r"weights: ([\w.-]+)", path.read_text(encoding="utf-8")):
        (tmp_path / name).write_bytes(weights.read_bytes())
    lines = COMMAND.findall(head(path))
    assert lines, "the head gives no command"
    for line in lines:
        words = [word.replace("$DATA", str(tmp_path)) for word in shlex.split(line)[2:]]
        named = words[words.index("--sweep") + 1] if "--sweep" in words else "demo"
        assert named == (f"recipes/{path.stem}" if path.parent == RECIPES else path.stem)
        if "--weights" in words:
            words[words.index("--weights") + 1] = str(weights)
        more = ["--dry-run", "--output-dir", str(tmp_path / "out")]
        assert cli_main(run_shell.main, [*words, *more]) == 0
        assert " runs, " in capsys.readouterr().out


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_value_needs_the_checkout_as_working_folder(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        assert "configs/" not in line.split("#")[0], "of an installed package there is no configs/"


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_head_says_what_to_expect_or_why_nothing_is_known(path):
    text = head(path)
    if "Not run here: needs the weights" in text:
        return
    assert re.search(r"Expect .*\d %", text, re.DOTALL), "the head gives no number to expect"
    assert re.search(r"\d min\b|wall time was not noted", text), "the head gives no wall time"
    assert re.search(r"\d{4}-\d\d-\d\d, .*torch \d", text), "the head gives no date and hardware"
