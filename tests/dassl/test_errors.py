"""How a command shows what a user can mend."""

from __future__ import annotations

import sys

import pytest

from dassl.errors import UserError, cli_main


def refuse(argv):
    raise UserError("no images in red/; check --root")


@pytest.mark.parametrize(
    "terminal, no_color, start",
    [(True, "", "\n\033[1;31merror:\033[0m "), (True, "1", "error: "), (False, "", "error: ")],
)
def test_an_error_stands_out_on_a_terminal_and_is_one_plain_line_elsewhere(
    monkeypatch, capsys, terminal, no_color, start
):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert cli_main(refuse, []) == 2
    assert capsys.readouterr().err == start + "no images in red/; check --root\n"


def test_debug_shows_the_traceback():
    with pytest.raises(UserError):
        cli_main(refuse, ["--debug"])
