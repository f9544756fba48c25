"""The report's tables of all methods: each centre's scores, folds put together, and differences."""

from __future__ import annotations

from collections.abc import Sequence

from cerviclip.report.document import Document
from cerviclip.report.study import Part, Study
from cerviclip.runs.comparison.compare import Comparison
from cerviclip.runs.comparison.tables import difference_tables
from cerviclip.runs.many.federations import tests_by_center, without_idle_rows
from cerviclip.runs.report.groups import group_runs, runs_of
from cerviclip.runs.report.pooled import Entry, pooled_entries, pooled_tables
from cerviclip.runs.report.tables import Table, build_tables, column_name
from cerviclip.runs.settings.run_key import shots_words
from dassl.errors import UserError

METRICS = ("accuracy", "balanced_accuracy", "binary.auc")


def all_methods(document: Document, study: Study, part: Part) -> None:
    """Tables of one data set's methods; with folds also of their predictions put together."""
    document.heading(f"All methods on {part.name}", "accuracy", level=2)
    pooled = pooled_entries(part.groups, study.folder)
    order = [(group.trainer, group.variant) for group in part.groups]
    groups = group_runs(tests_by_center(runs_of(part.groups)), order)
    for metric in METRICS:
        tables = map(without_idle_rows, build_tables(groups, metric))
        for table in [*tables, *pooled_tables(pooled, metric)]:
            _metric_table(document, table)
    if told := _not_pooled(pooled):
        document.text("Folds that are not put together:", "accuracy")
        document.bullets(told, "accuracy")
    found = part.differences
    if isinstance(found, UserError):
        why = str(found).replace(f"{study.folder.as_posix().rstrip('/')}/", "").split("; give ")[0]
        document.text(f"The methods are not compared in pairs: {why}.", "compare")
    elif found:
        _difference_tables(document, part, found)


def _difference_tables(document: Document, part: Part, found: Sequence[Comparison]) -> None:
    for table in difference_tables(found):
        rows = [(center, label, *cells) for center, block in table.blocks for label, cells in block]
        head = ("centre", f"{part.label} minus", *map(column_name, table.columns))
        note = "; ".join(table.notes) + "."
        document.table(f"{table.title}.", head, rows, "compare", note=note, labels=2)


def _metric_table(document: Document, table: Table) -> None:
    # The centre on each row: a page may end between two.
    rows = [(center, label, *cells) for center, block in table.blocks for label, cells in block]
    if all(set(row[2:]) <= {"-"} for row in rows):
        return
    head = ("centre", "method", *map(column_name, table.columns))
    note = "; ".join(table.notes) + "."
    document.table(f"{table.title}.", head, rows, "accuracy", "heterogeneity", note=note, labels=2)


def _not_pooled(entries: Sequence[Entry]) -> list[str]:
    """Cells whose folds have no score together, and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        if entry["score"] is None:
            name = f"{entry['trainer']}, {shots_words(entry['shots'])}"
            found.setdefault((name, entry["reason"]), []).append(str(entry["seed"]))
    return [f"{name}, seed {', '.join(seeds)}: {why}" for (name, why), seeds in found.items()]
