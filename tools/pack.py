#!/usr/bin/env python
"""Goal: decode and resize a data set's images once, into a store that training reads directly.

Usage: the data set, and what you will train on it; then name the store in DATASET.PACKED.
    python tools/pack.py Herlev --root $DATA --trainer CNNBaseline --out herlev_pack
    python tools/pack.py FOLDER --trainer CNNBaseline --out pack --opts INPUT.RESIZE_FIRST 512
    python train.py --dataset Herlev --root $DATA --trainer CNNBaseline DATASET.PACKED herlev_pack

The same command goes on where it was cut off, and adds images that have changed or come since.

Example output:
    herlev_pack: 1834 images of 917 files, 0.2 GB (decoded; resized [Resize(size=224, ...)])
    To use it: DATASET.PACKED herlev_pack
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from dassl.errors import MissingFileError, UserError, cli_main


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        allow_abbrev=False,
        description="Decode and resize images once, into a store that training reads directly.",
        epilog="The pixels are the same as without. Images of all parts and of external centres "
        "are packed as the trainer's transforms begin: a setting that changes these needs a new "
        "call, which adds to the pack.",
    )
    parser.add_argument("data", metavar="DATASET|FOLDER", help="such as Herlev, or class folders")
    parser.add_argument("--root", default="", metavar="DIR", help="of a data set; default ./data")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the pack's folder")
    parser.add_argument("--trainer", default="CNNBaseline", metavar="NAME", help="what will train")
    parser.add_argument("--backbone", default="", metavar="NAME", help="its backbone")
    parser.add_argument("--weights", default="", metavar="FILE", help="the backbone's, local")
    parser.add_argument("--config-file", default="", metavar="YAML", help="the trainer's settings")
    parser.add_argument("--dataset-config-file", default="", metavar="YAML", help="the data set's")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="threads; default: cores")
    add_debug_flag(parser)
    add_plugin_flag(parser)
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="config keys of the training"
    )
    return parser


def wanted_by(args: argparse.Namespace) -> dict[str, Any]:
    """The images that the run of these arguments would read, by the text of their first steps."""
    from cerviclip.data.centers.external import build_external_datasets
    from cerviclip.data.images.packing import wanted_of
    from cerviclip.runs.settings.configure import setup_cfg
    from cerviclip.runs.settings.requests import RunRequest
    from dassl.engine import build_trainer

    dataset, root = args.data, args.root
    if Path(args.data).is_dir():
        if root:
            raise UserError(f"--root goes with a data set's name, and {args.data} is a folder")
        dataset, root = "FolderDataset", args.data
    elif "/" in args.data or args.data.startswith("."):
        raise MissingFileError(f"there is no folder {args.data}")
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        request = RunRequest(
            trainer=args.trainer,
            dataset=dataset,
            root=root,
            backbone=args.backbone,
            weights=args.weights,
            config_file=args.config_file,
            dataset_config_file=args.dataset_config_file,
            output_dir=folder,
            plugins=tuple(args.plugins),
            opts=(*args.opts, "DATASET.PACKED", ""),
        )
        trainer: Any = build_trainer(setup_cfg(request))
        external = build_external_datasets(trainer.cfg, trainer.dm.dataset)
        return wanted_of(trainer, external)


def main(argv: Sequence[str] | None = None, prog: str = "python tools/pack.py") -> int:
    args = build_parser(prog).parse_args(argv)
    if args.jobs < 0:
        raise UserError(f"--jobs is {args.jobs}; it takes a number from 1")
    from cerviclip.app.predict_command import progress
    from cerviclip.data.images.packing import usual_threads, write_pack
    from cerviclip.data.images.packs import bytes_of
    from cerviclip.data.images.steps import DECODED

    wanted = wanted_by(args)
    with ExitStack() as stack:
        written, there = write_pack(
            args.out,
            wanted,
            args.jobs or usual_threads(),
            lambda total: stack.enter_context(progress(total, 0)),
        )
    files = len({path for part in wanted.values() for path in part.paths})
    before = f", {there} were there" if there else ""
    print(
        f"{args.out}: {written + there} images of {files} files{before}, "
        f"{bytes_of(args.out) / 1e9:.2f} GB ({'; '.join(wanted)})"
    )
    if DECODED in wanted:
        print(
            "Note: training images are packed whole; INPUT.RESIZE_FIRST 512, in this call and in "
            "training, makes the pack smaller and reading faster, and is another setting"
        )
    print(f"To use it: DATASET.PACKED {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
