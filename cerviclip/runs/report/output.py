"""Where a tool's text goes: the flags that tools about a folder of runs share."""

from __future__ import annotations

from pathlib import Path

from cerviclip.runs.settings.flags import Parser

FORMATS = ("md", "csv", "latex", "json")


def report_parser(prog: str, description: str, metrics: str) -> Parser:
    """Folder, format, metrics and output file.

    Args:
        prog: how the tool is called.
        description: what it does.
        metrics: which there are, for the help.
    """
    parser = Parser(prog=prog, description=description)
    parser.add_argument("folder", help="such as output/, or one dataset's folder in it")
    parser.add_argument("--format", choices=FORMATS, default="md")
    parser.add_argument("--metric", nargs="+", default=[], help=f"of {metrics}")
    parser.add_argument("--output", default="", metavar="FILE", help="write there instead")
    parser.add_argument("--debug", action="store_true", help="show the traceback of every error")
    return parser


def print_or_write(text: str, output: str) -> None:
    """Print a text, or write it to a file where one is named."""
    if output:
        Path(output).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
