"""Goal: one trainer minus each other, paired by patients, with 95 % intervals.

Usage:
    python tools/compare.py output/ --against SAVLT
    python tools/compare.py output/ --against SAVLT --centers PhantomHuaxi PhantomXiangya
        on each centre, and on the mean of these external ones
    python tools/compare.py output/ --against "SAVLT (no-roi)" --format csv > differences.csv

Example output (--format md):
    | centre | SAVLT minus | 1 shots | 16 shots |
    |---|---|---|---|
    | test | CoOp | -0.8 [-4.1, 2.6] | 4.4 [1.2, 7.7] |
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cerviclip.runs.report.compare import COMPARABLE, check_comparable, compare
from cerviclip.runs.report.comparison_tables import (
    comparison_csv,
    comparison_record,
    difference_tables,
)
from cerviclip.runs.report.formats import to_json, to_latex, to_markdown
from cerviclip.runs.report.groups import group_runs, load_runs, sweep_order
from cerviclip.runs.report.output import print_or_write, report_parser
from dassl.errors import cli_main


def make_text(
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


def main(argv: Sequence[str] | None = None, prog: str = "python tools/compare.py") -> int:
    what = "One trainer minus each other, paired by patients."
    parser = report_parser(prog, what, ", ".join(COMPARABLE))
    parser.add_argument(
        "--against", required=True, metavar="TRAINER", help="a row's label, as the tables have it"
    )
    parser.add_argument(
        "--centers",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the external centres whose mean is compared as well (default: all)",
    )
    args = parser.parse_args(argv)
    metrics = [check_comparable(m) for m in args.metric]
    text = make_text(args.folder, args.format, metrics, args.against, args.centers)
    print_or_write(text, args.output)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
