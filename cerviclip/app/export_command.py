"""Goal: a run as one folder that needs no trainer, data or weights file.

Usage:
    cerviclip export RUN OUT

In Python: Predictor.from_export("OUT"). OUT holds model.safetensors, export.json, the training
images' features and MODEL_CARD.md. Exit status: 0 done, 2 something to correct.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cerviclip.runs.settings.flags import Parser, add_plugin_flag
from dassl.errors import cli_main


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="a finished run's folder")
    parser.add_argument("out", metavar="OUT", type=Path, help="a new folder")
    parser.add_argument("--weights", default="", metavar="FILE", help="the backbone's, if moved")
    add_plugin_flag(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of every error")
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip export") -> int:
    args = build_parser(prog).parse_args(argv)
    from cerviclip.app.export.folder import files_of, write_export
    from cerviclip.app.predictor import RESEARCH_ONLY, Member

    print(RESEARCH_ONLY)
    member = Member.load(args.run, args.weights, "cpu", args.plugins)
    write_export(member, args.out)
    print(f"{args.out}: {', '.join(files_of(args.out))}")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
