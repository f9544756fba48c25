#!/usr/bin/env python
"""Goal: a copy of a data set whose training images have up to fourteen variants each.

Usage:
    python tools/augment.py Herlev --root $DATA --out herlev_augmented
    python tools/augment.py FOLDER --patients "^(\\d+)-" --out augmented --jobs 2
    python tools/augment.py Herlev --root $DATA --out few --variants quarter half mirror flip

The same command goes on where it was cut off. To train:
    python train.py --dataset FolderDataset --root herlev_augmented DATASET.FILE list.csv ...

Example output:
    herlev_augmented: train 551 images and 7714 variants, val 92, test 274 (list.csv)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cerviclip import plugins
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from dassl.errors import UserError, cli_main


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        allow_abbrev=False,
        description="Write a data set with variants of its training images.",
        epilog="Variants stay with their original in every split, and are tested on only with "
        "DATASET.TEST_VARIANTS True.",
    )
    parser.add_argument("data", metavar="DATASET|FOLDER", help="such as Herlev, or class folders")
    parser.add_argument("--root", default="", metavar="DIR", help="of a data set; default ./data")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--patients", default="", metavar="REGEX", help="finds the patient in a file name"
    )
    parser.add_argument(
        "--variants", nargs="+", default=[], metavar="KIND", help="some of them; default all 14"
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        default=["train"],
        choices=("train", "val", "test"),
        help="whose images get variants; default train",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="other variants")
    parser.add_argument("--symlink", action="store_true", help="link originals, do not copy")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; default 1")
    add_debug_flag(parser)
    add_plugin_flag(parser)
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="config keys of a data set"
    )
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "python tools/augment.py") -> int:
    args = build_parser(prog).parse_args(argv)
    if args.jobs < 1:
        raise UserError(f"--jobs is {args.jobs}; it takes a number from 1")
    from contextlib import ExitStack

    from cerviclip.app.predict_command import progress
    from cerviclip.data.variants.write import LIST, Settings, kinds_of, write_variants
    from cerviclip.runs.settings.opened import open_dataset

    plugins.add_plugins(args.plugins)
    kinds = kinds_of(args.variants)
    data = open_dataset(args.data, args.root, args.patients, args.opts)
    settings = Settings(data.name, data.split_hash, tuple(args.parts), kinds, args.seed)
    with ExitStack() as stack:
        written, there = write_variants(
            data,
            args.out,
            settings,
            args.jobs,
            args.symlink,
            lambda total: stack.enter_context(progress(total, 0)),
        )
    parts = {"train": data.train_x, "val": data.val or [], "test": data.test}
    said = [
        f"{part} {len(items)}"
        + (f" images and {len(items) * len(kinds)} variants" if part in args.parts else "")
        for part, items in parts.items()
    ]
    before = f"; {there} of the variants were there" if there else ""
    print(f"{args.out}: {', '.join(said)} ({LIST}{before})")
    if set(args.parts) & {"val", "test"}:
        print("Variants in val and test are read only with DATASET.TEST_VARIANTS True.")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
