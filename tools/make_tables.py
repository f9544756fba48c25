"""Goal: tables for a paper from any folder of runs.

Usage:
    python tools/make_tables.py output/                            accuracy, Markdown
    python tools/make_tables.py output/PhantomOCT --format latex --metric macro_auc binary.auc
    python tools/make_tables.py output/ --format csv > all.csv      every metric, one line each
    python tools/make_tables.py output/ --baseline ZeroShotCLIP     with marks of what beats it

Example output (--format md):
    | centre | trainer | 1 shots | 16 shots |
    |---|---|---:|---:|
    | test | CoOp | 51.2 ± 3.1 | 70.4 ± 0.9 |
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cerviclip.runs.comparison.marks import marks_against
from cerviclip.runs.report.formats import summary, to_csv, to_json, to_latex, to_markdown
from cerviclip.runs.report.groups import (
    METRICS,
    check_metric,
    group_runs,
    load_runs,
    sweep_order,
)
from cerviclip.runs.report.output import print_or_write, report_parser
from cerviclip.runs.report.tables import build_tables
from dassl.errors import UserError, cli_main


def make_text(folder: str, form: str, metrics: Sequence[str], baseline: str = "") -> str:
    """The tables of all runs below ``folder`` in one of the four formats.

    Args:
        folder: of runs.
        form: of ``report.output.FORMATS``.
        metrics: none named: accuracy, or all of them in csv and json.
        baseline: a row's label; tables mark what beats it for certain.
    """
    runs = load_runs(folder)
    groups = group_runs(runs, sweep_order(folder))
    if form == "json":
        return to_json(summary(groups, runs, metrics or METRICS))
    if form == "csv":
        return to_csv(groups, metrics or METRICS)
    render = to_latex if form == "latex" else to_markdown
    metrics = metrics or ("accuracy",)
    marks = marks_against(groups, baseline, metrics) if baseline else {}
    tables = [t for metric in metrics for t in build_tables(groups, metric, marks.get(metric))]
    return "\n".join(render(table) for table in tables)


def main(argv: Sequence[str] | None = None, prog: str = "python tools/make_tables.py") -> int:
    known = f"{', '.join(METRICS)}, per_class.<class>.f1"
    parser = report_parser(prog, "Tables from a folder of runs.", known)
    parser.add_argument(
        "--baseline", default="", metavar="TRAINER", help="mark what beats it for certain"
    )
    args = parser.parse_args(argv)
    metrics = [check_metric(m) for m in args.metric]
    if args.baseline and args.format in ("csv", "json"):
        raise UserError("--baseline marks tables of md and latex; for numbers: cerviclip compare")
    print_or_write(make_text(args.folder, args.format, metrics, args.baseline), args.output)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
