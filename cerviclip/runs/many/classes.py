"""Whether runs know the class that a metric names."""

from __future__ import annotations

from collections.abc import Sequence

from cerviclip.runs.report.groups import Group, runs_of
from cerviclip.runs.results_json import read_results
from dassl.errors import UserError, nearest_or_all


def check_class_of(metric: str, groups: Sequence[Group]) -> None:
    """Refuse ``per_class.<class>.<measure>`` of a class or a measure that no run has: a table of
    dashes alone would not say why.

    Args:
        metric: of a table or a figure; others are not looked at.
        groups: whose runs have ``folder``.

    Raises:
        UserError: with the classes that there are.
    """
    if not metric.startswith("per_class."):
        return
    if any(g.stat(center, metric).n for g in groups for center in g.centers):
        return
    name, _, measure = metric.removeprefix("per_class.").rpartition(".")
    classes: dict[str, None] = {}
    measures: dict[str, None] = {}
    for run in runs_of(groups)[:1]:
        results = read_results(run["folder"]) or {}
        for entry in results.get("centers", {}).values():
            for classname, values in (entry.get("per_class") or {}).items():
                classes[classname] = None
                measures |= dict.fromkeys(values)
    if classes and name not in classes:
        hint = nearest_or_all(name, list(classes), "results.json")
        raise UserError(f"no class {name!r} in {metric!r}{hint}")
    if measures and measure not in measures:
        hint = nearest_or_all(measure, list(measures), "results.json")
        raise UserError(f"no measure {measure!r} of a class in {metric!r}{hint}")
