"""What each method's settings have cost: tries and labels that its runs have counted.

A method that chooses settings on val has used these labels, also where "16 shots" stands above its
column. The engine counts them in every run (results.json, ``search``). Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cerviclip.runs.report.groups import Group
from cerviclip.runs.report.tables import row_labels

HEAD = ("data set", "trainer", "shots", "tries", "labels of val", "chosen")
NOTE = (
    "Tries and labels of val images that each run's own choices took; a dash where a method chose "
    "nothing on val. What was tried before the sweep is not known here."
)


def search_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """A row for each cell of the tables; none where no method has chosen anything on val."""
    if not any(run.get("search") for group in groups for run in group.runs):
        return []
    rows: list[tuple[str, ...]] = []
    for dataset in dict.fromkeys(g.dataset for g in groups):
        own = [g for g in groups if g.dataset == dataset]
        labels = row_labels(own)
        rows += [(dataset, labels[g.row], str(g.shots), *_budget(g.runs)) for g in own]
    return rows


def search_markdown(groups: Sequence[Group]) -> str:
    """The rows as a section of results.md; "" where there are none."""
    rows = search_rows(groups)
    if not rows:
        return ""
    lines = ["## Search budget", "", "| " + " | ".join(HEAD) + " |", "|---|---|---:|---:|---:|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", NOTE, ""])


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
    return (_span(tries), _span(seen), ", ".join(chosen))


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}-{high}"
