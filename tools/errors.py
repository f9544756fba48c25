#!/usr/bin/env python
"""Goal: a run's most confident errors, by centre: a CSV, and a contact sheet to look at.

Usage:
    python tools/errors.py RUN                                  # a line each on the screen
    python tools/errors.py RUN --csv errors.csv --sheet errors.png
    python tools/errors.py RUN --most 8 --centers test PhantomHuaxi --root $DATA --sheet errors.png

Below each picture of the sheet stand its number in the CSV and its file's name, the true class with
its probability, and the class that the run named with its own. A sheet shows why a model errs only
to someone who can read the images.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cerviclip.runs.settings.folders import no_run
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import MissingFileError, UserError, cli_main

MOST = 16


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        allow_abbrev=False,
        description="The most confident errors of a run, centre by centre.",
    )
    parser.add_argument("run", metavar="RUN", help="a finished run's folder, or an evaluation's")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="all errors, one line each")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="a picture of the pictures")
    parser.add_argument(
        "--most", type=int, default=MOST, metavar="N", help=f"of a centre, shown; default: {MOST}"
    )
    parser.add_argument("--centers", nargs="+", default=[], metavar="NAME", help="default: all")
    parser.add_argument("--root", default="", metavar="DIR", help="of the data, if moved")
    add_debug_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "python tools/errors.py") -> int:
    args = build_parser(prog).parse_args(argv)
    if args.most < 1:
        raise UserError(f"--most {args.most}: give how many errors of each centre, 1 or more")
    from cerviclip.runs.inspection.errors import confident_errors, write_errors
    from cerviclip.runs.inspection.pictures import chosen_centers, data_root
    from cerviclip.runs.results_json import read_results

    results = read_results(args.run)
    if results is None:
        raise MissingFileError(no_run(args.run, "results.json"))
    parts = chosen_centers(args.run, args.centers)
    every = [confident_errors(p, results["positive_classes"]) for p in parts]
    found = [errors[: args.most] for errors in every]
    for p, errors, shown in zip(parts, every, found, strict=True):
        print(f"{p.center}: {len(errors)} of {len(p)} images wrong, the surest {len(shown)}:")
        for e in shown:
            said = f"{e.predicted} ({e.probability:.2f})"
            print(f"  {e.path}: {e.label} ({e.of_truth:.2f}), said {said}")
    if args.csv:
        write_errors(args.csv, [e for errors in every for e in errors])
        print(f"{args.csv}: {sum(map(len, every))} errors, all of them")
    if args.sheet:
        from cerviclip.data.checks.sheet import told
        from cerviclip.runs.inspection.sheet import error_sheet

        count = error_sheet(parts, every, args.most, data_root(args.run, args.root), args.sheet)
        print(told(args.sheet, count, "no image is wrong"))
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
