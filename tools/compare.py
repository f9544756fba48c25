"""Goal: one trainer minus each other, paired by patients, with 95 % intervals and tests.

Usage:
    python tools/compare.py output/ --against SAVLT
    python tools/compare.py output/ --against SAVLT --metric binary.auc sensitivity_95.sensitivity
    python tools/compare.py output/ --against SAVLT --others CoOp --centers PhantomHuaxi FarB
        on each centre, and on the mean of these external ones
    python tools/compare.py output/ --against SAVLT --readers readers.csv      a reader study
    python tools/compare.py output/ --against SAVLT --subgroups patients.csv:age_band
    python tools/compare.py output/ --ranks ranks.png       all methods over three data sets or more
    python tools/compare.py output/ --against "SAVLT (no-roi)" --format csv > differences.csv

Example output (--format md):
    | centre | trainer | 1 shot | 16 shots |
    |---|---|---:|---:|
    | test | CoOp | −0.8 [−4.1, +2.6] | +4.4 [+1.2, +7.7]▲ |
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cerviclip.evaluation.comparing.quantities import COMPARABLE, check_comparable
from cerviclip.evaluation.comparing.ranks import NEMENYI, WILCOXON
from cerviclip.runs.comparison.compare import Request, compare
from cerviclip.runs.comparison.readers import read_study
from cerviclip.runs.comparison.tables import comparison_csv, comparison_record, difference_tables
from cerviclip.runs.report.formats import to_json, to_latex, to_markdown
from cerviclip.runs.report.groups import check_metric, group_runs, load_runs, sweep_order
from cerviclip.runs.report.output import print_or_write, report_parser
from cerviclip.runs.subgroups import read_subgroups
from dassl.errors import UserError, cli_main

USUAL = ("accuracy", "balanced_accuracy", "macro_f1")  # of csv and json where none is named


def make_text(folder: str, form: str, request: Request) -> str:
    """The differences that are asked for in one of the four formats."""
    groups = group_runs(load_runs(folder), sweep_order(folder))
    notes: list[str] = []
    pairs = compare(groups, request, notes)
    if not pairs:
        why = "; ".join(notes) or "no other method of its data sets has runs at its shots"
        raise UserError(f"nothing in {folder} to compare with {request.against}: {why}")
    if form == "json":
        return to_json(comparison_record(pairs, notes))
    if form == "csv":
        return comparison_csv(pairs)
    render = to_latex if form == "latex" else to_markdown
    return "\n".join(render(table) for table in difference_tables(pairs, notes))


def request_of(args: argparse.Namespace) -> Request:
    """What the flags ask for."""
    if not args.against:
        raise UserError("name the trainer to compare with --against, or a figure with --ranks")
    usual = USUAL if args.format in ("csv", "json") else USUAL[:1]
    return Request(
        against=args.against,
        metrics=[check_comparable(m) for m in args.metric] or usual,
        centers=args.centers,
        others=args.others,
        study=read_study(args.readers, args.allow_unmatched) if args.readers else None,
        fixed_runs=args.fixed_runs,
        subgroups=read_subgroups(args.subgroups) if args.subgroups else None,
    )


def make_ranks(folder: str, metrics: Sequence[str], post_hoc: str, path: Path) -> str:
    """Write the critical-difference diagram of the first metric; the ranks as text."""
    from cerviclip.runs.comparison.ranking import rank_groups, ranking_text, save_ranking

    metric = check_metric((list(metrics) or ["accuracy"])[0])
    ranked = rank_groups(group_runs(load_runs(folder)), metric, post_hoc)
    save_ranking(ranked, path)
    return ranking_text(ranked)


def main(argv: Sequence[str] | None = None, prog: str = "python tools/compare.py") -> int:
    what = "One trainer minus each other, paired by patients."
    known = f"{', '.join(COMPARABLE)}, per_class.<class>.f1".replace("%", "%%")
    parser = report_parser(prog, what, known)
    name = {"metavar": "TRAINER", "help": "a row's label, as the tables have it"}
    parser.add_argument("--against", default="", **name)
    parser.add_argument(
        "--others", nargs="+", default=[], metavar="TRAINER", help="compared with it (default: all)"
    )
    parser.add_argument(
        "--centers",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the external centres whose mean is compared as well (default: all)",
    )
    parser.add_argument(
        "--fixed-runs",
        action="store_true",
        help="intervals of these trained models: over patients, not over seeds",
    )
    parser.add_argument("--readers", default="", metavar="FILE", help="CSV of a reader study")
    parser.add_argument(
        "--allow-unmatched",
        action="store_true",
        help="leave out images that only the readers or only the runs have, and count them",
    )
    parser.add_argument(
        "--subgroups", default="", metavar="FILE:COLUMN", help="each centre's parts as well"
    )
    parser.add_argument(
        "--ranks", default="", metavar="FILE", help="critical-difference diagram over data sets"
    )
    parser.add_argument(
        "--post-hoc",
        choices=(NEMENYI, WILCOXON),
        default=NEMENYI,
        help=f"test between pairs of methods in --ranks; default: {NEMENYI}",
    )
    args = parser.parse_args(argv)
    if args.ranks:
        text = make_ranks(args.folder, args.metric, args.post_hoc, Path(args.ranks))
    else:
        text = make_text(args.folder, args.format, request_of(args))
    print_or_write(text, args.output)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
