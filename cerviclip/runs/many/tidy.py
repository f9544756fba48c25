"""Results as a long table: one row per run, centre and metric."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

RUN = ("dataset", "trainer", "backbone", "variant", "shots", "fold", "seed", "transductive")
COLUMNS = (
    *RUN,
    "center",
    "metric",
    "value",
    "low",
    "high",
    "reason",
    "n_images",
    "n_patients",
    "folder",
)


def read_results(folder: str | Path) -> pandas.DataFrame:
    """The results of all finished runs below a folder as a long table.

    One row is one metric of one run on one centre. ``dataset trainer backbone variant shots seed``
    say which run; ``center`` (``test`` or an external centre) and ``metric`` (``accuracy``,
    ``binary.auc``, ``per_class.<class>.f1`` ...) say which number. ``value low high`` are the
    number and its 95 % interval: NaN, and a ``reason``, where there is none. ``n_images n_patients
    folder`` come last. Runs of a k-fold protocol have a column ``fold`` as well,
    and where a run is transductive a column ``transductive`` says which. Accuracies and
    the like are in percent; AUC and ECE lie in 0-1.

    Args:
        folder: such as ``output``, or one run's folder.

    Raises:
        MissingFileError: there is no folder, or no run in it.

    Warns:
        UserWarning: runs that failed are left out.
    """
    from cerviclip.runs.many.load import every_run

    failed, count = 0, 0

    def finished() -> Iterator[Mapping[str, Any]]:
        nonlocal failed, count
        for run in every_run(folder):
            count += 1
            failed += run["status"] != "done"
            yield run

    table = long_table(finished())
    if failed:
        warnings.warn(f"{failed} of {count} runs in {folder} are not done", stacklevel=2)
    return table


def long_table(runs: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """The rows of finished runs (contents of results.json, with ``folder``)."""
    import pandas

    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for run in runs:
        for row in run_rows(run) if run["status"] == "done" else ():
            for name, cells in columns.items():
                cells.append(row[name])
    table = pandas.DataFrame(columns)
    table = table.astype(dict.fromkeys(("value", "low", "high"), float))
    without = [name for name in ("fold", "transductive") if not table[name].any()]
    return table.drop(columns=without)


def run_rows(run: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row per centre and metric of a run."""
    which = {key: run.get(key) for key in RUN} | {"folder": run.get("folder", "")}
    for center, entry in run["centers"].items():
        sizes = {key: entry.get(key) for key in ("n_images", "n_patients")}
        for metric, found in _metrics(entry):
            numbers = {key: found.get(key) for key in ("value", "low", "high", "reason")}
            yield which | sizes | {"center": center, "metric": metric} | numbers


def _metrics(entry: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Dotted name and content of everything below an entry that has a ``value``."""
    for name, found in entry.items():
        if isinstance(found, Mapping):
            if "value" in found:
                yield f"{prefix}{name}", found
            else:
                yield from _metrics(found, f"{prefix}{name}.")
