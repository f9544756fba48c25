"""Marks in the tables of results: what is significantly better than a baseline."""

from __future__ import annotations

from collections.abc import Sequence

from cerviclip.evaluation.comparing.quantities import check_comparable
from cerviclip.runs.comparison.compare import Request, compare
from cerviclip.runs.comparison.tables import BETTER, WORSE, legend
from cerviclip.runs.report.groups import Group
from cerviclip.runs.report.tables import Marks


def marks_against(
    groups: Sequence[Group], baseline: str, metrics: Sequence[str]
) -> dict[str, Marks]:
    """Metric -> marks of its tables; Holm's correction counts the differences of all metrics.

    Args:
        groups: of ``groups.group_runs``, their runs with ``folder``.
        baseline: a row's label as the tables print it.
        metrics: those of the tables.
    """
    pairs = compare(groups, Request(baseline, [check_comparable(m) for m in metrics]))
    found: dict[str, dict[tuple[str, str, str, str], str]] = {metric: {} for metric in metrics}
    for pair in pairs:
        for center in pair.centers:
            # The comparison has the baseline first, so what is good for it is bad for the row.
            mark = {1: WORSE, -1: BETTER, 0: ""}[pair.significant(center)]
            found[pair.metric][(pair.other.dataset, pair.label, str(pair.shots), center)] = mark
    words = f"against {baseline}: {legend(pairs)}"
    return {metric: Marks(cells, words) for metric, cells in found.items()}
