"""Goal: how much zero-shot accuracy hangs on the wording of the prompts.

Usage:
    cerviclip prompts --dataset PhantomOCT --backbone PhantomCLIP
        every template and prompt set on the val images: prompts.csv, prompts.md, prompts.png
    cerviclip prompts --dataset Herlev --root data --backbone PLIP --weights pytorch_model.bin
    cerviclip prompts --dataset PhantomOCT --backbone PhantomCLIP --split test
        on the test images, when the prompt has been chosen

Example output:
    27 prompts on 75 val images: accuracy 40.0 to 61.3 % (median 52.0), all templates 57.3 %
    output/prompts/PhantomOCT/PhantomCLIP/prompts.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerviclip.runs.run.process.summation_order import fix_summation_order
from cerviclip.runs.settings.folders import DEFAULT_ROOT, safe_part
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from cerviclip.runs.settings.requests import RunRequest
from dassl.errors import UserError, cli_main

TRAINER = "ZeroShotCLIP"
NOTES = {
    "val": "These are val images: a prompt may be chosen by them, and their labels are then used.",
    "test": "These are test images: a prompt that is chosen by them has seen the answer.",
}


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, metavar="NAME", help="such as PhantomOCT")
    parser.add_argument(
        "--backbone", required=True, metavar="NAME", help="with texts, such as PLIP"
    )
    parser.add_argument("--weights", default="", metavar="FILE", help="the backbone's, local")
    parser.add_argument("--root", default="", metavar="DIR", help="the data; default ./data")
    parser.add_argument("--split", default="val", choices=tuple(NOTES), help="default val")
    parser.add_argument(
        "--output-dir", default="", metavar="DIR",
        help="default ./output/prompts/DATASET/BACKBONE",
    )  # fmt: skip
    add_plugin_flag(parser)
    add_debug_flag(parser)
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE",
        help="config keys, last: DATASET.TEMPLATES \"['a photo of {}.', 'a {}']\"",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip prompts") -> int:
    args = build_parser(prog).parse_args(argv)
    fix_summation_order()  # before torch is imported
    from cerviclip import plugins
    from cerviclip.runs.prompts.output import write_report
    from cerviclip.runs.prompts.sensitivity import score_prompts, spreads
    from cerviclip.runs.settings.configure import setup_cfg
    from cerviclip.runs.settings.run_key import RunKey
    from cerviclip.runs.study_title import named
    from dassl.engine import build_trainer

    plugins.add_plugins(args.plugins)
    request = RunRequest(
        trainer=TRAINER,
        dataset=args.dataset,
        backbone=args.backbone,
        weights=args.weights,
        root=args.root,
        output_dir=args.output_dir or "none",
        opts=tuple(args.opts),
    )
    cfg = setup_cfg(request)
    if cfg.TRAINER.ZEROSHOTCLIP.TEMPLATE:
        raise UserError(
            "TRAINER.ZEROSHOTCLIP.TEMPLATE chooses one prompt, and all are scored; leave it out"
        )
    backbone = RunKey.of(cfg).backbone
    trainer: Any = build_trainer(cfg)
    dataset = trainer.dm.dataset
    items = list((dataset.val if args.split == "val" else dataset.test) or [])
    trainer.dm.training_ended = True  # nothing is trained, and the note says what test images are
    scored = score_prompts(trainer, items, args.split)
    default = Path(DEFAULT_ROOT, "prompts", safe_part(args.dataset), safe_part(backbone))
    folder = Path(args.output_dir or default)
    name = named(args.dataset, cfg.DATASET.TITLE)
    title = f"Prompts of {name}, {backbone}, {len(items)} {args.split} images"
    written = write_report(folder, scored, title, NOTES[args.split])
    spread = spreads(scored)["all classes"]
    single = sum(s.single for s in scored)
    averaged = "".join(f", {s.prompt.name} {s.accuracy:.1f} %" for s in scored if not s.single)
    print(
        f"{single} prompts on {len(items)} {args.split} images: accuracy {spread.least:.1f} to "
        f"{spread.most:.1f} % (median {spread.median:.1f}){averaged}"
    )
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
