"""Goal: which images to label next, and what labelling them gains.

Usage:
    cerviclip active --dataset PhantomOCT --trainer LinearProbe --backbone PhantomCLIP \\
        --budgets 10 20 40 80 --seeds 1 2 3
        five strategies, rounds of labelling and training; curves, tables and the chosen images
    cerviclip active --dataset Herlev --root data --trainer LinearProbe \\
        --backbone torchvision:squeezenet1_0 --weights squeezenet.safetensors \\
        --strategies random margin --budgets 4 8 16 --by patient
        patient by patient: all images of a patient are labelled together

Strategies: random; entropy and margin (by the last round's model); coreset (k-center greedy);
typiclust (typical clusters). Val labels are beside the budget (DATASET.NUM_SHOTS_VAL).

Example output:
    margin, seed 1, 40 images (40 images): accuracy 68.2 %
    output/active/PhantomOCT/LinearProbe/PhantomCLIP/active.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cerviclip.runs.run.process.summation_order import fix_summation_order
from cerviclip.runs.settings.folders import DEFAULT_ROOT, safe_part
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from dassl.errors import cli_main


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, metavar="NAME", help="such as PhantomOCT")
    parser.add_argument("--trainer", default="LinearProbe", metavar="NAME", help="of each round")
    parser.add_argument("--backbone", required=True, metavar="NAME", help="such as PhantomCLIP")
    parser.add_argument("--weights", default="", metavar="FILE", help="the backbone's, local")
    parser.add_argument("--root", default="", metavar="DIR", help="the data; default ./data")
    parser.add_argument(
        "--strategies", nargs="+", metavar="NAME",
        default=["random", "entropy", "margin", "coreset", "typiclust"],
        help="default: all five",
    )  # fmt: skip
    parser.add_argument(
        "--budgets", nargs="+", type=int, required=True, metavar="N", help="labelled, growing"
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[1], metavar="S", help="of draws; default: 1"
    )
    parser.add_argument(
        "--by", choices=("image", "patient"), default="image", help="what is chosen"
    )
    parser.add_argument(
        "--output-dir", default="", metavar="DIR",
        help="default ./output/active/DATASET/TRAINER/BACKBONE",
    )  # fmt: skip
    add_plugin_flag(parser)
    add_debug_flag(parser)
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="config keys of every round"
    )
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip active") -> int:
    args = build_parser(prog).parse_args(argv)
    fix_summation_order()  # before torch is imported
    from cerviclip import plugins
    from cerviclip.runs.active.output import write_study
    from cerviclip.runs.active.rounds import Plan, run_rounds
    from cerviclip.runs.study_title import KEY as TITLE
    from cerviclip.runs.study_title import named

    plugins.add_plugins(args.plugins)
    plan = Plan(
        dataset=args.dataset,
        trainer=args.trainer,
        backbone=args.backbone,
        weights=args.weights,
        root=args.root,
        opts=tuple(args.opts),
        plugins=tuple(args.plugins),
        strategies=tuple(dict.fromkeys(args.strategies)),
        budgets=tuple(args.budgets),
        seeds=tuple(dict.fromkeys(args.seeds)),
        by=args.by,
    )
    names = (args.dataset, args.trainer, args.backbone)
    out = Path(args.output_dir or Path(DEFAULT_ROOT, "active", *map(safe_part, names)))
    out.mkdir(parents=True, exist_ok=True)
    rounds = run_rounds(plan, out, lambda line: print(line, flush=True))
    given = dict(zip(args.opts[::2], args.opts[1::2], strict=False))
    name = named(args.dataset, str(given.get(TITLE, "")))
    title = f"Labelling in rounds: {args.trainer} on {name}, {args.backbone}"
    for path in write_study(out, rounds, args.by, title):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
