"""Goal: figures for a paper from any folder of runs.

Usage:
    python tools/plot_curves.py output/              accuracy against shots, confusion matrices
    python tools/plot_curves.py output/PhantomOCT --metric macro_auc --out figures --format pdf

Example output:
    figures/curves_PhantomOCT_accuracy.png
    figures/confusion_PhantomOCT_SAVLT_16.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cerviclip.runs.many.classes import check_class_of
from cerviclip.runs.many.federations import tests_by_center
from cerviclip.runs.report.groups import (
    METRICS,
    Group,
    check_metric,
    group_runs,
    in_tables,
    load_runs,
    sweep_order,
)
from cerviclip.runs.report.tables import row_labels
from cerviclip.runs.settings.folders import safe_part
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from cerviclip.runs.settings.run_key import shots_order
from dassl.errors import cli_main


def draw(groups: Sequence[Group], metrics: Sequence[str], out: Path, suffix: str) -> list[Path]:
    """Write the figures of every dataset; returns their paths."""
    from cerviclip.runs.report.curves import save_pooled_confusion, shots_figure

    out.mkdir(parents=True, exist_ok=True)
    written = []
    for own in in_tables(groups):
        dataset, apart = own[0].dataset, "_transductive" * own[0].transductive
        for metric in metrics:
            path = out / f"curves_{safe_part(dataset)}_{safe_part(metric)}{apart}.{suffix}"
            shots_figure(own, metric).savefig(path, dpi=150)
            written.append(path)
        for row, label in row_labels(own).items():
            most = max((g for g in own if g.row == row), key=lambda g: shots_order(g.shots))
            name = f"confusion_{safe_part(dataset)}_{safe_part(label)}_{most.shots}.{suffix}"
            save_pooled_confusion(most, label, out / name)
            written.append(out / name)
    return written


def main(argv: Sequence[str] | None = None, prog: str = "python tools/plot_curves.py") -> int:
    parser = Parser(prog=prog, description="Figures from a folder of runs.")
    parser.add_argument("folder", help="such as output/, or one dataset's folder in it")
    known = f"{', '.join(METRICS)}, per_class.<class>.f1"
    parser.add_argument(
        "--metric",
        nargs="+",
        default=["accuracy"],
        metavar="METRIC",
        help=f"a figure of each: {known}; default: accuracy",
    )
    parser.add_argument("--out", default="", metavar="DIR", help="default: <folder>/figures")
    parser.add_argument("--format", choices=("png", "pdf", "svg"), default="png")
    add_debug_flag(parser)
    args = parser.parse_args(argv)
    metrics = [check_metric(metric) for metric in args.metric]
    groups = group_runs(tests_by_center(load_runs(args.folder)), sweep_order(args.folder))
    for metric in metrics:
        check_class_of(metric, groups)
    for path in draw(groups, metrics, Path(args.out or Path(args.folder) / "figures"), args.format):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
