"""Paired differences between methods (``cerviclip.runs.comparison.compare``) in four formats."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cerviclip.counted import counted, some_of
from cerviclip.evaluation.comparing.difference import IDENTICAL
from cerviclip.runs.comparison.compare import READER, Comparison
from cerviclip.runs.report.few import few_notes, nameless_notes
from cerviclip.runs.report.groups import has_folds, runs_of
from cerviclip.runs.report.tables import READ_EARLY, Table, column_name, rule_notes
from cerviclip.runs.report.titles import title_of
from cerviclip.runs.settings.run_key import shots_order
from cerviclip.runs.study_title import marked_name, title_notes

SCHEMA = 4  # 1: percentage points by resampled patients; 2: folds; 4: significant, not certain
BETTER, WORSE, NO_SPREAD = "▲", "▼", "°"
LEGEND = (
    "▲ significantly better, ▼ significantly worse: p below 0.05 after Holm's correction for the "
    "{} of {}, and an interval without 0"
)


P_HINT = "p of each difference, corrected and not: cerviclip compare --format csv"


@dataclass
class DifferenceTable(Table):
    """Trainer x shots of the differences; it prints as every table does."""

    against: str = ""
    scale: float = 100.0

    @property
    def heading(self) -> str:
        name = title_of(self.metric)
        unit = " (percentage points)" if self.scale == 100 else ""
        return f"{self.against} minus each other, {name}{unit}"


def difference_tables(comparisons: Sequence[Comparison], notes: Sequence[str] = ()) -> list[Table]:
    """One table per data set and metric, a block of rows per centre.

    Args:
        comparisons: of one call.
        notes: more of them, such as what was left out.
    """
    words = legend(comparisons)
    parts: dict[tuple[str, str, bool], list[Comparison]] = {}
    for c in comparisons:
        parts.setdefault((c.metric, c.other.dataset, c.ours.transductive), []).append(c)
    return [_table(part, words, notes) for part in parts.values()]


def _table(part: Sequence[Comparison], words: str, notes: Sequence[str]) -> DifferenceTable:
    shots = sorted({c.shots for c in part}, key=shots_order)
    cells = {(c.label, c.shots): c for c in part}
    blocks = []
    for center in dict.fromkeys(name for c in part for name in c.centers):
        rows = []
        for label in dict.fromkeys(c.label for c in part if center in c.centers):
            found = [cells.get((label, k)) for k in shots]
            rows.append((label, [_cell(c, center) if c else "-" for c in found]))
        blocks.append((center, rows))
    columns = [str(k) for k in shots]
    first = part[0]
    said = [*_notes(part, words), *notes]
    name = marked_name(first.other.dataset, _runs(part))
    of = (first.other.dataset, first.metric, columns, blocks, said, first.other.transductive)
    tested = any("p" in entry for c in part for entry in c.centers.values())
    return DifferenceTable(*of, hints=[P_HINT] * tested, name=name, against=first.against,
                           scale=first.scale)  # fmt: skip


def _runs(part: Sequence[Comparison]) -> list[dict[str, Any]]:
    return runs_of(group for c in part for group in (c.ours, c.other))


def legend(comparisons: Sequence[Comparison]) -> str:
    """What the marks mean, with the number of differences that are corrected for: those of all
    tables that one call makes."""
    family = sum("p_holm" in e for c in comparisons for e in c.centers.values())
    tables = len({(c.metric, c.other.dataset, c.ours.transductive) for c in comparisons})
    where = "this table" if tables < 2 else f"these {tables} tables together"
    return LEGEND.format(counted(family, "difference"), where)


def _cell(comparison: Comparison, center: str) -> str:
    """``+3.1 [−0.2, +6.4]`` and a mark; a dash where there is no difference to be had."""
    entry = comparison.centers.get(center)
    if entry is None or entry["value"] is None:
        return "-"
    digits = 1 if comparison.scale == 100 else 3
    text = signed(entry["value"], digits)
    if entry.get("test") == IDENTICAL:
        text = "no difference"
    elif entry["low"] is not None:
        text += f" [{signed(entry['low'], digits)}, {signed(entry['high'], digits)}]"
    text += {1: BETTER, -1: WORSE, 0: ""}[comparison.significant(center)]
    text += NO_SPREAD * bool(entry.get("no_spread_of_runs"))
    return text + "*" * comparison.fewer_runs + "†" * comparison.read_early


def signed(value: float, digits: int = 1) -> str:
    """``+3.1`` or ``−3.1``; 0 without a sign."""
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def _notes(part: Sequence[Comparison], words: str) -> list[str]:
    with_folds = has_folds(c.other for c in part)
    repeats = "folds and seeds" if with_folds else "seeds"
    tests = dict.fromkeys(e["test"] for c in part for e in c.centers.values() if "test" in e)
    random = f"patients and {repeats} both taken as random"
    if part[0].fixed_runs or all(len(c.repeats) < 2 for c in part):
        random = "over patients alone: it does not hold that of training again"
    elif with_folds and all(len(c.seeds) < 2 for c in part):
        random += ", at test patients alone"
    notes = [f"mean over the {repeats} that both methods have [95 % interval, {random}]"]
    if with_folds:
        notes.append("at test the predictions of a seed's folds are put together and count as one")
    named = [test for test in tests if test != IDENTICAL]
    if named:
        notes += [_tests(part, named), words]
    if any(e.get("no_spread_of_runs") for c in part for e in c.centers.values()):
        notes.append(
            f"{NO_SPREAD} the {repeats} differ by no more than chance among patients explains, so "
            "they add nothing to the interval"
        )
    if IDENTICAL in tests:
        notes.append(f"no difference: {IDENTICAL}")
    notes += few_notes([g for c in part for g in (c.ours, c.other)], folds_together=True)
    idle = {
        g.trainer: 0
        for c in part
        for g in (c.ours, c.other)
        if g.shots == 0 != c.shots and g.trainer != READER
    }
    if idle:
        notes.append(f"{', '.join(idle)} trains nothing: one run meets all seeds and shots")
    if any(c.fewer_runs for c in part):
        notes.append(f"* fewer {'folds or ' if with_folds else ''}seeds than the others")
    if any(c.read_early for c in part):
        notes.append(READ_EARLY)
    reasons = [e["reason"] for c in part for e in c.centers.values() if "reason" in e]
    notes += title_notes(_runs(part))
    notes += rule_notes(part[0].metric)
    return [*notes, *(f"missing: {reason}" for reason in dict.fromkeys(reasons))]


def _tests(part: Sequence[Comparison], named: Sequence[str]) -> str:
    """Which test each difference was tested by; of several tests, the rows of each."""
    if len(named) == 1:
        return f"test: {named[0]}"
    found: dict[str, dict[tuple[str, str, str], None]] = {name: {} for name in named}
    for c in part:
        for center, entry in c.centers.items():
            if entry.get("test") in found:
                place = (c.label, center, column_name(str(c.shots)))
                found[entry["test"]][place] = None
    for kinds in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        told = {
            test: dict.fromkeys(" at ".join(place[k] for k in kinds) for place in places)
            for test, places in found.items()
        }
        if sum(map(len, told.values())) == len({one for places in told.values() for one in places}):
            break
    return "tests: " + "; ".join(f"{test} ({some_of(list(rows))})" for test, rows in told.items())


def comparison_record(
    comparisons: Sequence[Comparison], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """What ``--format json`` prints."""
    compared = [g for c in comparisons for g in (c.ours, c.other)]
    notes = [*notes, *nameless_notes(compared)]
    entries = [
        {
            "dataset": c.other.dataset,
            "against": c.against,
            "trainer": c.other.trainer,
            "backbone": c.other.backbone,
            "variant": c.other.variant,
            "shots": c.shots,
            "folds": c.other.folds,
            "metric": c.metric,
            "unit": "percentage points" if c.scale == 100 else "as the metric's",
            "seeds": c.seeds,
            "fixed_runs": c.fixed_runs,
            "test_read_early": c.read_early,
            "centers": {
                name: entry
                | {"significant": {1: "better", -1: "worse", 0: None}[c.significant(name)]}
                for name, entry in c.centers.items()
            },
        }
        for c in comparisons
    ]
    return {"schema_version": SCHEMA, "notes": notes, "comparisons": entries}


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """One line per pair, shots, metric and centre; seeds as ``1;2;3``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    record = comparison_record(comparisons)
    names = ["dataset", "against", "trainer", "backbone", "variant", "shots", "folds", "metric"]
    ends = ["p", "p_holm", "test", "significant", "reason"]
    writer.writerow([*names, "seeds", "center", "difference", "low", "high", *ends])
    for entry in record["comparisons"]:
        row = [*(entry[name] for name in names), ";".join(map(str, entry["seeds"]))]
        for center, e in entry["centers"].items():
            numbers = ["" if e[k] is None else repr(e[k]) for k in ("value", "low", "high")]
            p = [repr(e[k]) if k in e else "" for k in ("p", "p_holm")]
            rest = [e.get("test", ""), e["significant"] or "", e.get("reason", "")]
            writer.writerow([*row, center, *numbers, *p, *rest])
    return out.getvalue()
