"""What each method has cost: parameters, time and memory, and the tries and labels of its settings.

A method that chooses settings on val has used these labels, also where "16 shots" stands above its
column. The engine counts them in every run (results.json, ``search``); a sweep whose settings come
from a search before it (``settings``) knows what that has cost. Needs no torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cerviclip.runs.report.groups import Group, runs_of
from cerviclip.runs.report.tables import row_labels
from cerviclip.runs.settings.files.chosen_file import Chosen
from cerviclip.runs.study_title import shown_name

SEARCH = "Search budget"
HEAD = ("data set", "trainer", "shots", "tries", "labels of val", "chosen")
NOTE = (
    "Tries and labels of val images that each run's own choices took, and what the runs of the row "
    "have chosen; a dash where a method chose nothing on val. What was tried before the sweep is "
    "not known here."
)
BEFORE = ("tries before", "labels before")
BEFORE_NOTE = (
    "Tries and labels of val images that each run's own choices took, and what the runs of the row "
    "have chosen; before: the settings that a search has compared for this method "
    "(`cerviclip choose`), and the labelled images it used. A dash: none."
)
COST_HEAD = ("data set", "trainer", "shots", "trained parameters", "seconds", "peak memory (MiB)")
COST_NOTE = (
    "Median over the runs of a row: seconds from start to files, and the largest memory of the "
    "process, with torch and the data in it. Runs on different machines or beside other work are "
    "not comparable."
)


def budget_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """A row for each cell of the tables: tries and labels of val, and what was chosen."""
    return [(*place, *_budget(group.runs)) for place, group in _by_row(groups)]


def search_rows(
    groups: Sequence[Group], before: Mapping[str, Chosen] | None = None
) -> list[tuple[str, ...]]:
    """The same, with what was tried before; none where no method has chosen anything on val.

    Args:
        groups: of the tables.
        before: what a search has chosen for each trainer; None: not known, and no columns of it.
    """
    chosen_in_runs = any(run.get("search") for group in groups for run in group.runs)
    if not (chosen_in_runs or before):
        return []
    rows = budget_rows(groups)
    if not before:
        return rows
    ordered = (group for _, group in _by_row(groups))
    return [
        (*row, *_budget_before(group, before)) for row, group in zip(rows, ordered, strict=True)
    ]


def search_markdown(groups: Sequence[Group], before: Mapping[str, Chosen] | None = None) -> str:
    """The rows as a section of results.md; "" where there are none."""
    rows = search_rows(groups, before)
    head, note = ((*HEAD, *BEFORE), BEFORE_NOTE) if before else (HEAD, NOTE)
    return _section(SEARCH, head, rows, note)


def cost_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """A row for each cell of the tables: trained parameters, seconds and memory of a run."""
    return [
        (
            *place,
            _span([n for r in group.runs if (n := r.get("trainable_params")) is not None], ","),
            _median([run["runtime"].get("seconds", {}).get("total") for run in group.runs], 1),
            _median([run["runtime"].get("peak_memory_mib") for run in group.runs], 0),
        )
        for place, group in _by_row(groups)
    ]


def cost_markdown(groups: Sequence[Group]) -> str:
    """The costs as pipe tables; not in results.md, which two equal sweeps write alike."""
    return _section("Cost", COST_HEAD, cost_rows(groups), COST_NOTE)


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> str:
    if not rows:
        return ""
    rule = ["---", "---", *("---" if name == "chosen" else "---:" for name in head[2:])]
    lines = [f"## {title}", "", *("| " + " | ".join(row) + " |" for row in (head, rule, *rows))]
    return "\n".join([*lines, "", note, ""])


def _by_row(groups: Sequence[Group]) -> Iterator[tuple[tuple[str, str, str], Group]]:
    """Each group with its data set, row label and shots, a data set after the other."""
    for dataset in dict.fromkeys(g.dataset for g in groups):
        own = [g for g in groups if g.dataset == dataset]
        labels, name = row_labels(own), shown_name(dataset, runs_of(own))
        for group in own:
            yield (name, labels[group.row], str(group.shots)), group


def search_note(groups: Sequence[Group]) -> str:
    """One line for the terminal; "" where nothing was chosen on val."""
    found = {row[1]: row for row in search_rows(groups) if row[3] != "-"}
    told = ", ".join(f"{name} {row[3]} tries" for name, row in found.items())
    return f"chosen on val, which has labels too: {told} (results.md says how many)" if told else ""


def _budget(runs: Sequence[dict[str, Any]]) -> tuple[str, str, str]:
    found = [run.get("search") or {} for run in runs]
    if not any(found):
        return ("-", "-", "-")
    tries = [one.get("tries", 0) for one in found]
    seen = [one.get("labels", 0) for one in found]
    chosen = dict.fromkeys(what for one in found for what in one.get("choices", ()))
    values = {what: _of_choice(what, found) for what in chosen} | {"settings": _settings(runs)}
    named = [f"{what} ({values[what]})" if values[what] else what for what in chosen]
    return (_span(tries), _span(seen), ", ".join(named))


def _of_choice(what: str, searches: Sequence[Mapping[str, Any]]) -> str:
    """``3 to 12``: what the runs of a row have chosen, such as epochs; "" if not recorded."""
    entries = [one.get("choices", {}).get(what) or {} for one in searches]
    values = [entry["chosen"] for entry in entries if "chosen" in entry]
    return _value_span(values) if values else ""


def chosen_settings(run: Mapping[str, Any]) -> dict[str, Any]:
    """Setting -> the value that a run has chosen on val, of a grid of its own."""
    search = ((run.get("runtime") or {}).get("trainer") or {}).get("search") or {}
    return dict(search.get("chosen") or {})


def _settings(runs: Sequence[dict[str, Any]]) -> str:
    """``ALPHA 1 to 3, BETA 5.5``: what the runs of a row have chosen on val; "" if not recorded."""
    values: dict[str, list[Any]] = {}
    for run in runs:
        for key, value in chosen_settings(run).items():
            values.setdefault(key, []).append(value)
    return ", ".join(f"{key} {_value_span(found)}" for key, found in values.items())


def _value_span(values: Sequence[Any]) -> str:
    if all(isinstance(value, (int, float)) for value in values):
        low, high = f"{min(values):.4g}", f"{max(values):.4g}"
        return low if low == high else f"{low} to {high}"
    return " or ".join(dict.fromkeys(map(str, values)))


def _budget_before(group: Group, before: Mapping[str, Chosen]) -> tuple[str, str]:
    found = before.get(group.trainer)
    return ("-", "-") if found is None else (str(found.tries), str(found.labels))


def _span(values: Sequence[int], form: str = "") -> str:
    if not values:
        return "-"
    low, high = (format(value, form) for value in (min(values), max(values)))
    return low if low == high else f"{low}-{high}"


def _median(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.{digits}f}" if known else "-"
