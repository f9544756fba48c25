"""What the pages show can be typed: every command is accepted by its own parser, and every Python
block compiles and imports what exists. Nothing is carried out: parsing is where each command is
stopped. tests/test_wheel.py runs docs/python.md, tests/test_readme.py README's example."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from cerviclip.cli import COMMANDS
from dassl.errors import UserError

REPO = Path(__file__).resolve().parent.parent
TOP = ("README.md", "CONTRIBUTING.md", "UPGRADING.md")
PAGES = [REPO / name for name in TOP] + sorted((REPO / "docs").rglob("*.md"))
SCRIPTS = {"train.py": "cerviclip.runs.run.command", "run_shell.py": "cerviclip.runs.sweep.command"}


class Parsed(BaseException):
    """A parser has accepted its words. No Exception, so that no command takes it for a failure."""


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(language, code) of fenced and of indented blocks; an indented one has no language."""
    for language, code in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, flags=re.S | re.M):
        yield language, textwrap.dedent(code)
    rest = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.S | re.M)
    for code in re.findall(r"(?<=\n\n)((?: {4}.*\n)(?:\n* {4}.*\n)*)", rest):
        yield "", textwrap.dedent(code)


def commands(text: str) -> Iterator[list[str]]:
    """Words of the project's own commands in blocks, from the command on."""
    for language, code in blocks(text):
        if language in ("", "sh", "bash", "console"):
            for line in re.sub(r"\\\n\s*", " ", code).splitlines():
                yield from _of_line(line.split("  #")[0])


def _of_line(line: str) -> Iterator[list[str]]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe in a line of output
        return
    pieces: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", "|", ";", "&", ">", "2>"):
            pieces.append([])
        else:
            pieces[-1].append(word)
    for piece in pieces:
        while piece and re.fullmatch(r"[A-Z_]+=\S*", piece[0]):
            piece = piece[1:]
        name = Path(piece[0]).name if piece else ""
        if name in ("python", "python3", "torchrun"):
            script = next((i for i, w in enumerate(piece) if w.endswith(".py")), None)
            piece = [] if script is None else piece[script:]
            if piece and main_module(piece):
                yield piece
        elif name == "cerviclip" and not piece[0].endswith("/"):
            yield piece


def main_module(piece: list[str]) -> str:
    """The module whose ``main`` a command runs; "" for what is not ours."""
    if piece[0] in SCRIPTS:
        return SCRIPTS[piece[0]]
    if re.fullmatch(r"tools/\w+\.py", piece[0]):
        return f"cerviclip.tools.{Path(piece[0]).stem}"
    if Path(piece[0]).name == "cerviclip" and len(piece) > 1:
        return COMMANDS.get(piece[1], ("",))[0]
    return ""


def shown(page: Path) -> list[list[str]]:
    return list(commands(page.read_text(encoding="utf-8")))


def problem_with(piece: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command's own parser says against its words; "" for nothing."""
    if Path(piece[0]).name == "cerviclip":
        if piece[1:2] in ([], ["--help"], ["--version"]):
            return ""
        if piece[1] not in COMMANDS:
            return f"no word {piece[1]}"
    own = argparse.ArgumentParser

    def stop(method):
        def parse(self, args=None, namespace=None):
            if partial:  # words are missing: what is there must be known
                flags = [word.split("=")[0] for word in args if word.startswith("--")]
                unknown = [flag for flag in flags if flag not in self._option_string_actions]
                if unknown:
                    raise UserError(f"unknown: {unknown}")
            else:
                method(self, args, namespace)
            raise Parsed

        return parse

    words = piece[2:] if Path(piece[0]).name == "cerviclip" else piece[1:]
    partial = [w for w in words if "..." in w or w.startswith("[")]
    with monkeypatch.context() as patch:
        for name in ("parse_args", "parse_intermixed_args"):
            patch.setattr(own, name, stop(getattr(own, name)))
        try:
            importlib.import_module(main_module(piece)).main(words)
        except Parsed:
            return ""
        except UserError as error:
            return str(error)
        except SystemExit as end:
            return "" if end.code == 0 else f"exit {end.code}"
    return "it was not stopped by its parser"


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if shown(page)],
    ids=lambda page: page.relative_to(REPO).as_posix(),
)
def test_every_command_of_a_page_is_accepted_by_its_parser(page, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    found = {" ".join(piece): problem_with(piece, monkeypatch) for piece in shown(page)}
    assert not {command: problem for command, problem in found.items() if problem}


def test_wrong_commands_are_found(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = (
        "Type:\n\n    cerviclip trian --shots 4\n    cerviclip train --shotz 4 | cat\n"
        "    A=1 python run_shell.py --shots 1 \\\n        --nosuch\n\n"
        "```bash\n.venv/bin/cerviclip list  # all\npip install x\n"
        "cerviclip tables ... --nosuch\n```\n"
    )
    pieces = list(commands(text))
    problems = {piece[1]: problem_with(piece, monkeypatch) for piece in pieces}
    assert len(pieces) == 5
    assert "no word trian" in problems["trian"] and "--shotz" in problems["train"]
    assert "--nosuch" in problems["--shots"] and "--nosuch" in problems["tables"]
    assert problems["list"] == ""


def python_blocks() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        found = blocks(page.read_text(encoding="utf-8"))
        for i, code in enumerate(code for language, code in found if language == "python"):
            yield f"{page.relative_to(REPO).as_posix()}:{i}", code


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in python_blocks()])
def test_every_python_block_compiles_and_imports_what_exists(code):
    tree = ast.parse(code)
    for node in ast.walk(tree):
        ours = isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0]
        if ours in ("cerviclip", "dassl"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
