"""Goal: tables for a paper from any folder of runs.

Usage:
    python tools/make_tables.py output/                            accuracy, Markdown
    python tools/make_tables.py output/PhantomOCT --format latex --metric macro_auc binary.auc
    python tools/make_tables.py output/ --format csv > all.csv      every metric, one line each
    python tools/make_tables.py output/ --baseline ZeroShotCLIP     with marks of what beats it
    python tools/make_tables.py output/ --costs     trained parameters, seconds and memory of a run

Example output (--format md):
    | centre | trainer | 1 shots | 16 shots |
    |---|---|---:|---:|
    | test | CoOp | 51.2 ± 3.1 | 70.4 ± 0.9 |
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cerviclip.runs.many.classes import check_class_of
from cerviclip.runs.many.federations import tests_by_center, without_idle_rows
from cerviclip.runs.many.load import table_runs
from cerviclip.runs.report.costs import cost_markdown, search_markdown
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
from cerviclip.runs.settings.folders import find_results
from dassl.errors import UserError, cli_main

_MANY = 2000  # runs, from which on reading them takes seconds


def make_text(
    folder: str,
    form: str,
    metrics: Sequence[str],
    baseline: str = "",
    advance: Callable[[Any], object] = lambda _: None,
) -> str:
    """The tables of all runs below ``folder`` in one of the four formats.

    Args:
        folder: of runs.
        form: of ``report.output.FORMATS``.
        metrics: none named: accuracy, or all of them in csv and json.
        baseline: a row's label; tables mark what is significantly better or worse.
        advance: called after each run that was read.
    """
    metrics = metrics or (METRICS if form in ("csv", "json") else ("accuracy",))
    # A comparison reads more of each run than a table shows.
    runs = load_runs(folder) if baseline else table_runs(folder, metrics, advance)
    if form in ("md", "latex") and not baseline:  # the others have each run's own names
        runs = tests_by_center(runs)
    groups = group_runs(runs, sweep_order(folder))
    for metric in metrics:
        check_class_of(metric, groups)
    if form == "json":
        return to_json(summary(groups, runs, metrics))
    if form == "csv":
        return to_csv(groups, metrics)
    render = to_latex if form == "latex" else to_markdown
    marks = {}
    if baseline:
        from cerviclip.runs.comparison.marks import marks_against  # brings SciPy

        marks = marks_against(groups, baseline, metrics)
    tables = [t for metric in metrics for t in build_tables(groups, metric, marks.get(metric))]
    return "\n".join(render(without_idle_rows(table)) for table in tables)


def costs_text(folder: str, named_metric: bool, form: str) -> str:
    """What a run of each row has cost, and what its own choices on val took.

    Raises:
        UserError: a metric or a format was named, which these tables do not have.
    """
    if named_metric or form != "md":
        raise UserError("--costs prints Markdown, of no metric; leave --metric and --format out")
    groups = group_runs(load_runs(folder), sweep_order(folder))
    return "\n".join(filter(None, [cost_markdown(groups), search_markdown(groups)]))


@contextmanager
def reading(folder: str) -> Iterator[Callable[[Any], object]]:
    """A bar on a terminal while very many runs are read; what to call after each of them."""
    count = sum(1 for _ in find_results(folder)) if sys.stderr.isatty() else 0
    if count < _MANY:
        yield lambda _: None
        return
    from cerviclip.app.predict_command import progress

    with progress(count, 0) as advance:
        yield advance


def main(argv: Sequence[str] | None = None, prog: str = "python tools/make_tables.py") -> int:
    known = f"{', '.join(METRICS)}, per_class.<class>.f1"
    parser = report_parser(prog, "Tables from a folder of runs.", known)
    parser.add_argument(
        "--baseline", default="", metavar="TRAINER", help="mark what is significantly better"
    )
    parser.add_argument(
        "--costs", action="store_true", help="trained parameters, seconds, memory and search budget"
    )
    args = parser.parse_args(argv)
    if args.costs:
        print_or_write(costs_text(args.folder, bool(args.metric), args.format), args.output)
        return 0
    metrics = [check_metric(m) for m in args.metric]
    if args.baseline and args.format in ("csv", "json"):
        raise UserError("--baseline marks tables of md and latex; for numbers: cerviclip compare")
    with reading(args.folder) as advance:
        text = make_text(args.folder, args.format, metrics, args.baseline, advance)
    print_or_write(text, args.output)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
