#!/usr/bin/env python
"""Goal: check afterwards, from the files alone, that a folder of runs is what it says.

Usage:
    python tools/audit.py output/
    python tools/audit.py output/ --full all --root /data --json audit.json
    python tools/audit.py output/ --quick               # of 100,000 runs: results.json and tables
    python tools/audit.py --kinds                       # every kind of finding

Exit status: 0 nothing found (notes do not count), 1 findings, 2 something to correct in the
command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cerviclip.runs.settings.parser import Parser, add_debug_flag
from cerviclip.runs.settings.requests import number_in
from dassl.errors import UserError, cli_main


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        allow_abbrev=False,
        description="Check a folder of runs from its files alone.",
        epilog="Exit status: 0 nothing found (notes do not count), 1 findings, 2 something to "
        "correct in the command.",
    )
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="such as output/")
    parser.add_argument(
        "--root", default="", metavar="DIR", help="the data; default: where each run found them"
    )
    parser.add_argument(
        "--full",
        default="16",
        metavar="N|all",
        help="runs whose intervals and measures are made again too (half a second each); "
        "default 16",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="results.json and tables alone: for very many runs",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings")
    parser.add_argument("--kinds", action="store_true", help="list every kind of finding")
    add_debug_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "python tools/audit.py") -> int:
    args = build_parser(prog).parse_args(argv)
    from cerviclip.runs.audit.findings import KINDS

    if args.kinds:
        width = max(map(len, KINDS)) + 2
        for kind, (severity, text) in KINDS.items():
            print(f"{kind:<{width}}{severity:<9}{text}")
        return 0
    if not args.folder:
        raise UserError(f"name a folder of runs ({prog} --help lists the flags)")
    if args.full != "all" and number_in(args.full) is None:
        raise UserError(f"--full is {args.full}; it takes a number from 0, or all")
    if args.root and not Path(args.root).is_dir():
        raise UserError(f"--root {args.root}: there is no such folder")
    from cerviclip.app.predict_command import progress
    from cerviclip.runs.audit.run import audit, audit_results
    from cerviclip.runs.settings.folders import find_results
    from cerviclip.severity import report_console
    from dassl.utils.files import atomic_write

    full = None if args.full == "all" else int(args.full)
    with progress(sum(1 for _ in find_results(args.folder)), 0) as advance:
        if args.quick:
            report = audit_results(args.folder, advance)
        else:
            report = audit(args.folder, args.root, full, advance)
    report.show(report_console())
    if args.json:
        with atomic_write(args.json) as file:
            json.dump(report.record(), file, indent=1, ensure_ascii=False)
            file.write("\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
