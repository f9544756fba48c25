"""The helps of all commands: no second usage, a text for each flag, one text for a shared flag."""

from __future__ import annotations

import re

import pytest

from cerviclip.cli import COMMANDS, GROUPS, help_text, load_command
from cerviclip.runs.settings.parser import Parser
from cerviclip.runs.settings.parser import help_text as of_docstring
from dassl.errors import UserError


class Seen(Exception):
    pass


@pytest.fixture(params=sorted(COMMANDS))
def parser(request, monkeypatch):
    """The parser of a command, as it is asked to parse."""

    def parse(self, *_):
        raise Seen(self)

    monkeypatch.setattr(Parser, "parse_args", parse)
    monkeypatch.setattr(Parser, "parse_intermixed_args", parse)
    with pytest.raises(Seen) as seen:
        load_command(request.param)([], prog=f"cerviclip {request.param}")
    return seen.value.args[0]


def test_a_help_says_what_each_flag_is(parser):
    told = {word: action for action in parser._actions for word in action.option_strings}
    for action in parser._actions:
        shown = action.choices is not None  # what may be given tells itself
        assert action.help or shown, action.option_strings or action.dest
    assert told["--debug"].help == "show the traceback of every error"
    if "--device" in told and not told["--device"].default:
        assert told["--device"].help == "default: a GPU where there is one, else the CPU"


def test_a_help_has_one_usage_and_begins_with_what_the_command_does(parser):
    text = parser.format_help()
    assert text.lower().count("usage") == 1 + text.count("usage statistics")
    assert "Goal" not in text and "``" not in text


def test_the_help_of_a_docstring():
    assert of_docstring("Goal: see it.\n\nUsage:\n    cerviclip x\n") == (
        "See it.\n\nExamples:\n    cerviclip x\n"
    )
    assert of_docstring("Do it.\n\nGoal\n    A picture\n    of it.\n\nUsage\n    x\n") == (
        "Do it.\n\nA picture\nof it.\n\nExamples:\n    x\n"
    )
    assert of_docstring(None) is None


def help_of(word, *flags) -> str:
    """The text of some flags in a command's help, in one line."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        load_command(word)(["--help"], prog=word)
    return " ".join(out.getvalue().split())


@pytest.mark.parametrize(
    "word, said",
    [
        ("serve", "bytes of a file; default: 20000000"),
        ("errors", "default: 16"),
        ("sweep", "default: 1"),
        ("curves", "binary.auc"),
        ("compare", "default: nemenyi"),
        ("federate", "configs/federations"),
    ],
)
def test_defaults_and_names_are_said(word, said):
    assert said in help_of(word)


def test_the_list_of_commands_is_in_groups():
    lines = help_text().splitlines()
    for title, words in GROUPS.items():
        at = lines.index(f"{title}:")
        assert [line.split()[0] for line in lines[at + 1 : at + 1 + len(words)]] == list(words)
        assert lines[at + 1 + len(words)] == ""
    assert sum(map(len, GROUPS.values())) == len(COMMANDS)


@pytest.mark.parametrize("word", ["", " ", "--shoot"])
def test_an_argument_that_is_not_known_is_named_even_if_it_is_blank(word):
    shown = {"--shoot": "--shoot, did you mean '--shots'?"}.get(word, "''")
    parser = Parser(prog="some")
    parser.add_argument("--shots")
    with pytest.raises(UserError, match=f"^unrecognized arguments: {re.escape(shown)} "):
        parser.parse_args([word])


HINTS = {
    ("list", "--kind"): "",  # shares the dashes and a letter with --plugin
    ("list", "--plugins"): "--plugin",
    ("train", "--lr"): "",
    ("train", "--epochs"): "",
    ("train", "--batch-size"): "",
    ("train", "--tariner"): "--trainer",
    ("train", "--seeds"): "--seed",
    ("split", "--file"): "",
    ("sweep", "--workers"): "",
    ("sweep", "--output"): "--output-dir",
    ("sweep", "--retry"): "--retries",
    ("check", "--json-file"): "--json",
    ("web", "--port-number=3"): "--port",
}


@pytest.mark.parametrize("word, flag", HINTS)
def test_a_hint_names_a_flag_that_is_spelled_nearly_so_or_none(word, flag):
    with pytest.raises(UserError) as told:
        load_command(word)([*(["x", "y"] if word in ("check", "split") else []), flag], prog=word)
    said, wanted = str(told.value), HINTS[word, flag]
    assert said.startswith("unrecognized arguments: ")
    assert f"did you mean '{wanted}'?" in said if wanted else "did you mean" not in said
