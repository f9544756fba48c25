"""Paired differences between methods (``cerviclip.runs.report.compare``) in four formats."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from cerviclip.evaluation.bootstrap import N_RESAMPLES
from cerviclip.runs.report.compare import Comparison
from cerviclip.runs.report.few import few_notes
from cerviclip.runs.report.groups import TITLES, has_folds
from cerviclip.runs.report.tables import Table
from cerviclip.runs.settings.run_key import shots_order


class DifferenceTable(Table):
    """Trainer x shots of the differences; it prints as every table does."""

    against = ""

    @property
    def heading(self) -> str:
        name = TITLES[self.metric].removesuffix(" (%)")
        return f"{self.against} minus each other trainer, {name} (percentage points)"


def difference_tables(comparisons: Sequence[Comparison]) -> list[Table]:
    """One table per data set and metric, a block of rows per centre."""
    parts: dict[tuple[str, str], list[Comparison]] = {}
    for c in comparisons:
        parts.setdefault((c.metric, c.other.dataset), []).append(c)
    return [_table(part) for part in parts.values()]


def _table(part: Sequence[Comparison]) -> DifferenceTable:
    shots = sorted({c.shots for c in part}, key=shots_order)
    cells = {(c.label, c.shots): c for c in part}
    blocks = []
    for center in part[0].centers:
        rows = []
        for label in dict.fromkeys(c.label for c in part):
            found = [cells.get((label, k)) for k in shots]
            rows.append((label, [_cell(c, center) if c else "-" for c in found]))
        blocks.append((center, rows))
    columns = [str(k) for k in shots]
    first = part[0]
    table = DifferenceTable(first.other.dataset, first.metric, columns, blocks, _notes(part))
    table.against = first.against
    return table


def _cell(comparison: Comparison, center: str) -> str:
    """``+3.1 [−0.2, +6.4]``; a dash where there is no difference, and no bracket no interval."""
    entry = comparison.centers[center]
    if entry["value"] is None:
        return "-"
    text = _signed(entry["value"])
    if entry["low"] is not None:
        text += f" [{_signed(entry['low'])}, {_signed(entry['high'])}]"
    return text + "*" * comparison.fewer_runs + "†" * comparison.read_early


def _signed(value: float) -> str:
    rounded = round(value, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def _notes(part: Sequence[Comparison]) -> list[str]:
    with_folds = has_folds(c.other for c in part)
    repeats = "folds and seeds" if with_folds else "seeds"
    notes = [
        f"mean over the {repeats} that both have [95 % interval, {N_RESAMPLES} resamples of each "
        "centre's patients, the same for both]",
        "seeds and the number of pairs are not in the interval",
    ]
    notes += few_notes([g for c in part for g in (c.ours, c.other)], folds_together=True)
    idle = {g.trainer: 0 for c in part for g in (c.ours, c.other) if g.shots == 0 != c.shots}
    if idle:
        notes.append(f"{', '.join(idle)} trains nothing: one run meets all seeds and shots")
    if any(c.fewer_runs for c in part):
        notes.append(f"* fewer {'folds or ' if with_folds else ''}seeds than the others")
    if any(c.read_early for c in part):
        notes.append("† the test set was read before training had ended")
    reasons = [e["reason"] for c in part for e in c.centers.values() if "reason" in e]
    return [*notes, *(f"missing: {reason}" for reason in dict.fromkeys(reasons))]


def comparison_record(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """What ``--format json`` prints; schema 2, used where there are folds, adds ``folds``."""
    with_folds = has_folds(c.other for c in comparisons)
    entries = [
        {
            "dataset": c.other.dataset,
            "against": c.against,
            "trainer": c.other.trainer,
            "backbone": c.other.backbone,
            "variant": c.other.variant,
            "shots": c.shots,
            **({"folds": c.other.folds} if with_folds else {}),
            "metric": c.metric,
            "seeds": c.seeds,
            "test_read_early": c.read_early,
            "centers": c.centers,
        }
        for c in comparisons
    ]
    return {"schema_version": 2 if with_folds else 1, "comparisons": entries}


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """One line per pair, shots, metric and centre; seeds as ``1;2;3``.

    Where there are folds a column says how many.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    record = comparison_record(comparisons)
    names = ["dataset", "against", "trainer", "backbone", "variant", "shots", "folds", "metric"]
    if record["schema_version"] == 1:
        names.remove("folds")
    writer.writerow([*names, "seeds", "center", "difference", "low", "high", "reason"])
    for entry in record["comparisons"]:
        row = [*(entry[name] for name in names), ";".join(map(str, entry["seeds"]))]
        for center, e in entry["centers"].items():
            numbers = ["" if e[k] is None else repr(e[k]) for k in ("value", "low", "high")]
            writer.writerow([*row, center, *numbers, e.get("reason", "")])
    return out.getvalue()
