#!/usr/bin/env python
"""Goal: find what is wrong with the images of a data set before anything is trained on them.

Usage:
    python tools/check.py FOLDER                        # class folders, or train/val/test of them
    python tools/check.py Herlev --root /data           # a data set as training reads it
    python tools/check.py FOLDER --patients "P(\\d+)" --json check.json --sheet check.png --jobs 4
    python tools/check.py --kinds                       # every kind of finding

Exit status: 0 nothing found (notes do not count), 1 findings, 2 something to correct in the
command.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from dassl.errors import MissingFileError, UserError, cli_main


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        allow_abbrev=False,
        description="Find what is wrong with the images of a data set or of a folder.",
        epilog="Exit status: 0 nothing found (notes do not count), 1 findings, 2 something to "
        "correct in the command.",
    )
    parser.add_argument("data", nargs="?", metavar="DATASET|FOLDER", help="what to look at")
    parser.add_argument("--root", default="", metavar="DIR", help="of a data set; default ./data")
    parser.add_argument(
        "--patients", default="", metavar="REGEX", help="finds the patient in a file name"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it, with all paths")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="picture of the suspicious ones")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; default 1")
    parser.add_argument(
        "--ignore", nargs="+", default=[], metavar="KIND", help="findings that are known and right"
    )
    parser.add_argument("--no-alike", action="store_true", help="only exact copies")
    parser.add_argument("--kinds", action="store_true", help="list every kind of finding")
    add_debug_flag(parser)
    add_plugin_flag(parser)
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="config keys of a data set"
    )
    return parser


def survey_of(args: argparse.Namespace) -> Any:
    """The survey of the folder or data set that the arguments name."""
    from cerviclip.data.checks.survey import survey_dataset, survey_folder

    if Path(args.data).is_dir():
        for flag, given in (("--root", args.root), ("--opts", args.opts)):
            if given:
                raise UserError(
                    f"{flag} goes with a data set's name, and {args.data} is a folder; "
                    "FolderDataset --root DIR DATASET.FOLDER NAME reads it as training does"
                )
        return survey_folder(Path(args.data).absolute(), args.patients)
    if "/" in args.data or args.data.startswith("."):
        raise MissingFileError(f"there is no folder {args.data}")
    from cerviclip.runs.settings.configure import setup_cfg
    from cerviclip.runs.settings.requests import RunRequest

    opts = [*args.opts, *(["DATASET.PATIENT_PATTERN", args.patients] if args.patients else [])]
    # Any trainer will do: of the configuration the data set's keys alone are read.
    request = RunRequest(
        trainer="CNNBaseline",
        dataset=args.data,
        root=args.root,
        plugins=tuple(args.plugins),
        opts=("VERBOSE", False, *opts),
    )
    return survey_dataset(setup_cfg(request))


def main(argv: Sequence[str] | None = None, prog: str = "python tools/check.py") -> int:
    args = build_parser(prog).parse_args(argv)
    from cerviclip.data.checks.findings import KINDS

    if args.kinds:
        width = max(map(len, KINDS)) + 2
        for kind, (severity, text) in KINDS.items():
            print(f"{kind:<{width}}{severity:<9}{text}")
        return 0
    if not args.data:
        raise UserError(f"name a data set or a folder ({prog} --help lists the flags)")
    if args.jobs < 1:
        raise UserError(f"--jobs is {args.jobs}; it takes a number from 1")
    from cerviclip.app.predict_command import progress
    from cerviclip.data.checks.run import check_survey
    from cerviclip.data.checks.sheet import SUFFIXES, draw_sheet, told
    from cerviclip.severity import report_console
    from dassl.utils.files import atomic_write

    if args.sheet and args.sheet.suffix.lower() not in SUFFIXES:
        raise UserError(f"--sheet {args.sheet}: the suffix must be one of {', '.join(SUFFIXES)}")
    survey = survey_of(args)
    with progress(len(survey.entries), 0) as advance:
        report = check_survey(survey, args.jobs, not args.no_alike, args.ignore, advance)
    report.show(report_console())
    if args.json:
        with atomic_write(args.json) as file:
            json.dump(report.record(), file, indent=1, ensure_ascii=False)
            file.write("\n")
    if args.sheet:
        count = draw_sheet(report.findings, survey.folder, args.sheet)
        nothing = "no finding has an image to show" if report.findings else "nothing suspicious"
        print(told(args.sheet, count, nothing))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
