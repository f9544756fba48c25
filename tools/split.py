#!/usr/bin/env python
"""Goal: splits as files: by a ratio, in folds, by centre, as folders for other software; and the
portable set of a sweep's splits and draws.

Usage:
    python tools/split.py Herlev --root $DATA --ratio 0.6 0.1 0.3 --out splits
    python tools/split.py Herlev --root $DATA --folds 5 [--repeats 3] --out splits
    python tools/split.py PhantomDomains --by center --out splits
    python tools/split.py Herlev --root $DATA --folds 5 --copy --out herlev_folds     # or --symlink
    python tools/split.py --publish output published [--root $DATA]

Example output:
    splits/Herlev-fold1of5.json: train 628, val 105, test 184 (5c1d0e2a)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cerviclip import plugins
from cerviclip.data.split.folds import Fold
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from cerviclip.runs.settings.requests import parse_count, parse_folds
from dassl.errors import UserError, cli_main


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Write splits as JSON or folders, or publish those of a sweep.",
        epilog="What is written goes to DATASET.SPLIT_FILE, or to --split of train and sweep.",
    )
    parser.add_argument("dataset", nargs="?", default="", metavar="DATASET", help="such as Herlev")
    how = parser.add_argument_group("how to split (default: as the data set does)")
    how.add_argument(
        "--ratio", nargs=3, type=float, metavar=("TRAIN", "VAL", "TEST"), help="shares of the parts"
    )
    how.add_argument("--folds", metavar="K", help="K folds, each a file or folder")
    how.add_argument("--repeats", default="1", metavar="R", help="repetitions of the folds")
    how.add_argument(
        "--by", choices=("patient", "image", "center"), help="what stays together; default patient"
    )
    how.add_argument("--split-seed", type=int, metavar="S", help="another seed, another split")
    how.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="config keys of the data set"
    )
    add_plugin_flag(how)
    where = parser.add_argument_group("where")
    where.add_argument("--root", default="", metavar="DIR", help="the data; default ./data")
    where.add_argument("--out", default="splits", metavar="DIR", help="default ./splits")
    as_folders = where.add_mutually_exclusive_group()
    as_folders.add_argument("--copy", action="store_true", help="folders of copies")
    as_folders.add_argument("--symlink", action="store_true", help="folders of symbolic links")
    where.add_argument(
        "--publish", nargs=2, metavar=("SWEEP", "OUT"), help="the splits and draws of a sweep"
    )
    add_debug_flag(parser)
    return parser


def overrides(args: Any) -> list[list[Any]]:
    """The config keys of each split that is asked for.

    Raises:
        UserError: flags that cannot be together.
    """
    folds, repeats = parse_folds(args.folds), parse_count(args.repeats, "repeats")
    common: list[Any] = list(args.opts)
    if args.ratio:
        common += ["DATASET.SPLIT_RATIO", tuple(args.ratio)]
    if args.split_seed is not None:
        common += ["DATASET.SPLIT_SEED", args.split_seed]
    if args.by == "center":
        if folds or args.ratio:
            raise UserError("--by center leaves each out once; leave --folds and --ratio out")
        folds = number_of_centers(args.dataset, common)
    elif args.by:
        common += ["DATASET.SPLIT_BY", args.by]
    if repeats > 1 and (not folds or args.by == "center"):
        raise UserError("--repeats needs --folds, by patient or by image")
    names = [str(Fold(n + 1, folds, r + 1)) for r in range(repeats) for n in range(folds)]
    return [[*common, "DATASET.FOLD", name] for name in names] or [common]


def number_of_centers(dataset: str, opts: Sequence[Any]) -> int:
    """How many centres a data set is made of."""
    from cerviclip.runs.settings.configure import dataset_cfg

    named = dataset_cfg(dataset, opts=opts).DATASET.CENTERS
    centers = named or getattr(plugins.ensure_loaded("dataset", dataset), "centers", ())
    if len(centers) < 2:
        raise UserError(
            f"{dataset} is not made of centres; take PhantomDomains, CervixOCTDomains, or Centers "
            "with --opts DATASET.CENTERS \"['A', 'B']\""
        )
    return len(centers)


def write_splits(args: Any) -> Iterator[str]:
    """Write each split; yields a line of each."""
    from cerviclip.data.split.output import write_folders, write_json
    from cerviclip.runs.settings.configure import dataset_cfg
    from dassl.data.datasets import build_dataset

    out = Path(args.out)
    for opts in overrides(args):
        cfg = dataset_cfg(args.dataset, args.root, opts)
        cfg.VERBOSE = False
        cfg.freeze()
        data = build_dataset(cfg)
        fold = cfg.DATASET.FOLD.replace("/", "of").replace("@", "repeat")
        stem = f"fold{fold}" if fold else "split"
        if args.copy or args.symlink:
            place = out / stem if fold else out
            write_folders(data, place, link=args.symlink)
        else:
            place = write_json(data, out / f"{args.dataset}-{stem}.json")
        parts = (("train", data.train_x), ("val", data.val), ("test", data.test))
        counts = ", ".join(f"{name} {len(items or ())}" for name, items in parts)
        yield f"{place}: {counts} ({data.split_hash[:8]})"


def main(argv: Sequence[str] | None = None, prog: str = "python tools/split.py") -> int:
    args = build_parser(prog).parse_args(argv)
    plugins.add_plugins(args.plugins)
    if bool(args.publish) == bool(args.dataset):
        raise UserError("give a DATASET to split, or --publish SWEEP OUT, one of them")
    if args.publish:
        from cerviclip.runs.report.published import publish

        entries, without = publish(*args.publish, root=args.root)
        print(f"{args.publish[1]}: {len(entries)} splits and draws, manifest.json")
        if without:
            print(
                f"{without} of them without hashes of their images, which are not all there; "
                "--root says where they are"
            )
        return 0
    for line in write_splits(args):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
