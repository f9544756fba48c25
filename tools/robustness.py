#!/usr/bin/env python
"""Goal: what blur, JPEG, stain, gain and noise do to a trained run, centre by centre.

Usage:
    cerviclip robustness RUN                             # RUN/robustness/: JSON and a figure
    cerviclip robustness RUN --corruptions blur noise --centers test --metric binary.auc
    cerviclip robustness RUN --root $DATA --out robust/

Each image of the run's predictions is corrupted at five stated severities and predicted by the
run's model. robustness.json holds every metric with its interval by patient; the same command gives
the same numbers. Nothing of the run is changed.

Exit status: 0 done, 2 something to correct, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerviclip.data.variants.corruptions import LEVELS, SEVERITIES
from cerviclip.runs.settings.folders import no_run
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_device_flag, add_plugin_flag
from dassl.errors import MissingFileError, UserError, cli_main
from dassl.utils.files import atomic_write

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece", "binary.auc",
           "binary.sensitivity", "binary.specificity")  # fmt: skip


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="a finished run's folder")
    parser.add_argument(
        "--corruptions", nargs="+", default=list(LEVELS), choices=list(LEVELS), metavar="NAME",
        help=f"of {', '.join(LEVELS)}; default: all",
    )  # fmt: skip
    parser.add_argument("--centers", nargs="+", default=[], metavar="NAME", help="default: all")
    parser.add_argument("--metric", default="accuracy", choices=METRICS, help="of the figure")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: RUN/robustness")
    parser.add_argument("--root", default="", metavar="DIR", help="of the data, if moved")
    parser.add_argument("--weights", default="", metavar="FILE", help="the backbone's, if moved")
    add_device_flag(parser)
    add_plugin_flag(parser)
    add_debug_flag(parser)
    return parser


def lines_of(record: dict[str, Any], metric: str) -> list[str]:
    """The figure's numbers as text, a line for each centre and corruption."""
    lines = []
    for center, curves in record["centers"].items():
        for kind, cells in curves.items():
            values = [cell["value"] for cell in cells[metric]]
            shown = " ".join("-" if v is None else f"{v:.4g}" for v in values)
            lines.append(f"{center}, {kind}: {metric} {shown}")
    return lines


def main(argv: Sequence[str] | None = None, prog: str = "python tools/robustness.py") -> int:
    args = build_parser(prog).parse_args(argv)
    from cerviclip.app.predict_command import progress
    from cerviclip.runs.inspection.pictures import chosen_centers, data_root
    from cerviclip.runs.inspection.robustness import measure_robustness
    from cerviclip.runs.inspection.robustness_figure import robustness_figure
    from cerviclip.runs.results_json import finite_or_none, read_results
    from cerviclip.runs.run.load import load_run

    results = read_results(args.run)
    if results is None:
        raise MissingFileError(no_run(args.run, "results.json"))
    centers = chosen_centers(args.run, args.centers)
    loaded = load_run(args.run, args.weights, device=args.device, plugin=args.plugins)
    if not hasattr(loaded.trainer, "predict_images"):
        raise UserError(
            f"{args.run}: {results['trainer']} predicts the batches of a loader alone, "
            "no images in memory; take a run of a trainer that `cerviclip list` shows"
        )
    steps = len(centers) * (1 + len(args.corruptions) * len(SEVERITIES))
    with progress(steps, 0) as on_done:
        of = (loaded.trainer, centers, results, data_root(args.run, args.root))
        record = finite_or_none(measure_robustness(*of, args.corruptions, on_done))
    out = args.out or Path(args.run) / "robustness"
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "robustness.json") as handle:
        handle.write(json.dumps(record, indent=1, allow_nan=False) + "\n")
    robustness_figure(record, args.metric, out / "robustness.png")
    print("\n".join(lines_of(record, args.metric)))
    print(f"{out}: robustness.json and robustness.png")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
