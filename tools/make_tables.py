"""Goal: tables for a paper from any folder of runs.

Usage:
    python tools/make_tables.py output/                            accuracy, Markdown
    python tools/make_tables.py output/PhantomOCT --format latex --metric macro_auc binary.auc
    python tools/make_tables.py output/ --format csv > all.csv      every metric, one line each
    python tools/make_tables.py output/ --against SAVLT --centers PhantomHuaxi PhantomXiangya
        SAVLT minus each other trainer, paired by patients: on each centre, on the mean of these

Example output (--format md):
    | centre | trainer | 1 shots | 16 shots |
    |---|---|---:|---:|
    | test | CoOp | 51.2 ± 3.1 | 70.4 ± 0.9 |
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cerviclip.runs.report.compare import COMPARABLE, check_comparable, compare
from cerviclip.runs.report.comparison_tables import (
    comparison_csv,
    comparison_record,
    difference_tables,
)
from cerviclip.runs.report.formats import summary, to_csv, to_json, to_latex, to_markdown
from cerviclip.runs.report.groups import (
    METRICS,
    check_metric,
    group_runs,
    load_runs,
    sweep_order,
)
from cerviclip.runs.report.tables import build_tables
from cerviclip.runs.settings.flags import Parser
from dassl.errors import UserError, cli_main


def make_text(folder: str, form: str, metrics: Sequence[str]) -> str:
    """The tables of all runs below ``folder`` in one of the four formats."""
    runs = load_runs(folder)
    groups = group_runs(runs, sweep_order(folder))
    if form == "json":
        return to_json(summary(groups, runs, metrics or METRICS))
    if form == "csv":
        return to_csv(groups, metrics or METRICS)
    render = to_latex if form == "latex" else to_markdown
    tables = [t for metric in metrics or ("accuracy",) for t in build_tables(groups, metric)]
    return "\n".join(render(table) for table in tables)


def make_comparison(
    folder: str, form: str, metrics: Sequence[str], against: str, centers: Sequence[str]
) -> str:
    """The differences between ``against`` and each other trainer in one of the four formats."""
    groups = group_runs(load_runs(folder), sweep_order(folder))
    wanted = metrics or (COMPARABLE if form in ("csv", "json") else ("accuracy",))
    pairs = compare(groups, against, wanted, centers)
    if form == "json":
        return to_json(comparison_record(pairs))
    if form == "csv":
        return comparison_csv(pairs)
    render = to_latex if form == "latex" else to_markdown
    return "\n".join(render(table) for table in difference_tables(pairs))


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="make_tables.py", description="Tables from a folder of runs.")
    parser.add_argument("folder", help="such as output/, or one dataset's folder in it")
    parser.add_argument("--format", choices=("md", "csv", "latex", "json"), default="md")
    parser.add_argument(
        "--metric", nargs="+", default=[], help=f"of {', '.join(METRICS)}, per_class.<class>.f1"
    )
    parser.add_argument(
        "--against",
        metavar="TRAINER",
        help="a row's label: this trainer minus each other, with intervals over patients",
    )
    parser.add_argument(
        "--centers",
        nargs="+",
        default=[],
        metavar="NAME",
        help="with --against: the external centres whose mean is compared as well (default: all)",
    )
    parser.add_argument("--output", default="", metavar="FILE", help="write there instead")
    parser.add_argument("--debug", action="store_true", help="show the traceback of every error")
    args = parser.parse_args(argv)
    if args.against:
        metrics = [check_comparable(m) for m in args.metric]
        text = make_comparison(args.folder, args.format, metrics, args.against, args.centers)
    elif args.centers:
        raise UserError("--centers chooses the mean that --against TRAINER compares; add --against")
    else:
        text = make_text(args.folder, args.format, [check_metric(m) for m in args.metric])
    if args.output:
        Path(args.output).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
