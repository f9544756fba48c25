#!/usr/bin/env python
"""Goal: describe classes, and the images of a training part, in words of cytology.

Usage:
    python tools/describe.py Herlev --root $DATA --out herlev_aspects.yaml     # for DESCRIPTIONS
    python tools/describe.py Herlev --root $DATA --csv descriptions.csv        # a text an image
    python tools/describe.py FOLDER --skeleton mine.yaml                       # phrases to fill in
    python tools/describe.py FOLDER --aspects mine.yaml --out prompts.yaml
    python tools/describe.py --check descriptions.csv                          # does it leak?

Exit status: 0 written, or no leak found; 1 a leak; 2 something to correct in the command.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerviclip import plugins
from cerviclip.data.files.csv_rows import read_rows
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from dassl.errors import MissingFileError, UserError, cli_main
from dassl.utils.files import atomic_write

COLUMNS = ("path", "label", "split", "patient", "description")


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        allow_abbrev=False,
        description="Describe classes, and images of train, by morphology, nucleus, cytoplasm and "
        "architecture.",
        epilog="Images of val and test never get a text that is made from their label.",
    )
    parser.add_argument("data", nargs="?", metavar="DATASET|FOLDER", help="such as Herlev")
    parser.add_argument("--root", default="", metavar="DIR", help="of a data set; default ./data")
    parser.add_argument("--patients", default="", metavar="REGEX", help="in a file name")
    parser.add_argument(
        "--aspects", default="", metavar="NAME|FILE", help="phrases; default the data set's"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="prompt sets, DATASET.DESCRIPTIONS"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a text for each image")
    parser.add_argument(
        "--by-label",
        nargs="+",
        default=["train"],
        choices=("train", "val", "test"),
        help="parts whose texts come from labels; val and test are refused",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="other phrases")
    parser.add_argument("--skeleton", type=Path, metavar="FILE", help="write phrases to fill in")
    parser.add_argument("--check", type=Path, metavar="CSV", help="whether texts tell labels")
    add_debug_flag(parser)
    add_plugin_flag(parser)
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="config keys of a data set"
    )
    return parser


def check_file(path: Path) -> int:
    """Say whether the texts of a file tell the labels of val and test images."""
    from cerviclip.data.texts.describing import Row, find_leaks

    if not path.is_file():
        raise MissingFileError(f"there is no file {path}")
    head, table = read_rows(path)
    lacking = [n for n in ("path", "label", "split", "description") if n not in head]
    if lacking:
        raise UserError(f"{path} has no column {', '.join(lacking)}; it takes {', '.join(COLUMNS)}")
    rows = [Row(r["path"], r["label"], r["split"], "", r["description"]) for _, r in table]
    if not any(row.split in ("val", "test") for row in rows):
        raise UserError(f"{path} has no image in val or test; there is nothing to check")
    leaks = find_leaks(rows)
    for leak in leaks:
        print(f"{path}: {leak}")
    print(f"{path}: {'leaks labels' if leaks else 'no leak found'} ({len(rows)} texts)")
    return 1 if leaks else 0


def rows_of(data: Any) -> list[tuple[str, str, str, str]]:
    """(path below the root, class, part, patient) of every image."""
    parts = {"train": data.train_x, "val": data.val or [], "test": data.test}
    return [
        (os.path.relpath(i.impath, data.root).replace(os.sep, "/"), i.classname, part, i.patient_id)
        for part, items in parts.items()
        for i in items
    ]


def main(argv: Sequence[str] | None = None, prog: str = "python tools/describe.py") -> int:
    args = build_parser(prog).parse_args(argv)
    if args.check:
        return check_file(args.check)
    if not (args.data and (args.out or args.csv or args.skeleton)):
        raise UserError("give a DATASET with --out, --csv or --skeleton, or --check CSV alone")
    import yaml

    from cerviclip.data.texts.describing import image_rows, load_aspects, prompt_sets, skeleton
    from cerviclip.runs.settings.opened import open_dataset

    plugins.add_plugins(args.plugins)
    data = open_dataset(args.data, args.root, args.patients, args.opts)
    for file in filter(None, (args.out, args.csv, args.skeleton)):
        if file.exists():
            raise UserError(f"{file} is there already; name another file")
    if args.skeleton:
        with atomic_write(args.skeleton) as handle:
            handle.write(skeleton(data.classnames))
        print(f"{args.skeleton}: phrases to fill in for {len(data.classnames)} classes")
        return 0
    aspects = load_aspects(args.aspects or data.prompts or data.name, data.classnames)
    rows = image_rows(rows_of(data), aspects, args.by_label, args.seed) if args.csv else []
    if args.out:
        with atomic_write(args.out) as handle:
            yaml.safe_dump(prompt_sets(aspects), handle, sort_keys=False, allow_unicode=True)
        print(f"{args.out}: {', '.join(prompt_sets(aspects))} of {len(data.classnames)} classes")
        print(f"To use them: DATASET.DESCRIPTIONS {args.out} DATASET.PROMPT_SET combined")
    if args.csv:
        with atomic_write(args.csv) as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows((r.path, r.label, r.split, r.patient, r.text) for r in rows)
        own = sum(row.text != aspects.neutral for row in rows)
        print(f"{args.csv}: {own} texts of train by label, {len(rows) - own} neutral")
        print(
            "Warning: texts of train are their labels in words. A model must not read a text at "
            "test time that knows more than the neutral one."
        )
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
