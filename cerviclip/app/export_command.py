"""Goal: a run as one folder that needs no trainer, data or weights file.

Usage:
    cerviclip export RUN OUT
    cerviclip export RUN OUT --onnx      # also OUT/model.onnx

In Python: Predictor.from_export("OUT"). OUT holds model.safetensors, export.json, the training
images' features and MODEL_CARD.md. Exit status: 0 done, 2 something to correct.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cerviclip.app.demo import check_run, run_folder
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from dassl.errors import UserError, cli_main


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="a finished run's folder, or demo")
    parser.add_argument(
        "out", metavar="OUT", type=Path, help="a new folder, or an export to replace"
    )
    parser.add_argument("--weights", default="", metavar="FILE", help="the backbone's, if moved")
    parser.add_argument("--onnx", action="store_true", help="also model.onnx")
    add_plugin_flag(parser)
    add_debug_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip export") -> int:
    args = build_parser(prog).parse_args(argv)
    from cerviclip.app.export.folder import check_replaceable, files_of, write_export
    from cerviclip.app.export.record import is_export
    from cerviclip.app.predictor import RESEARCH_ONLY, Predictor

    check_run(args.run)
    if is_export(args.run):
        raise UserError(f"{args.run} is an export already; name the run that it was made of")
    check_replaceable(args.out)
    replaced = is_export(args.out)
    if args.onnx:
        from cerviclip.app.export.onnx_file import check_packages, write_onnx

        check_packages()
    print(RESEARCH_ONLY)
    predictor = Predictor.from_run(run_folder(args.run), args.weights, "cpu", args.plugins)

    def add_onnx(folder: Path) -> None:
        if args.onnx:
            difference = write_onnx(predictor, folder)
            told = f"(largest difference {difference:.1e})"
            print(f"ONNX Runtime gives the same probabilities {told}")

    out = write_export(
        predictor.members, predictor.joining, predictor.knowledge.blocks, args.out, add_onnx
    )
    print(f"{'replaced' if replaced else 'wrote'} {out}: {', '.join(files_of(out))}")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
